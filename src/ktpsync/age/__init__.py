"""To be written: age."""
