"""To be written: disk."""
