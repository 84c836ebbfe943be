"""To be written: keys."""
