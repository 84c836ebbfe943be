"""To be written: http."""
