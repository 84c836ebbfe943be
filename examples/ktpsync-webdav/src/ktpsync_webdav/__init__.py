"""ktpsync backend: webdav."""
