"""To be written: config."""
