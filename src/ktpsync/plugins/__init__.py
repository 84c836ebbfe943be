"""To be written: plugins."""
