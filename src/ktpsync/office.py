"""To be written: office."""
