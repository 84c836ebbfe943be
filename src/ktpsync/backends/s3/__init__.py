"""To be written: s3."""
