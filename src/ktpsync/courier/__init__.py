"""To be written: courier."""
