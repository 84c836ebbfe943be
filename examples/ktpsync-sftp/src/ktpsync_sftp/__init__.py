"""ktpsync backend: sftp."""
