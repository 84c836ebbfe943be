"""To be written: backends."""
