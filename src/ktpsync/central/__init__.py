"""To be written: central."""
