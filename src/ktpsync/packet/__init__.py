"""To be written: packet."""
