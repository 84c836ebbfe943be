"""To be written: records."""
