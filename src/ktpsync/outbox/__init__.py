"""To be written: outbox."""
