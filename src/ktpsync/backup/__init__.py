"""To be written: backup."""
