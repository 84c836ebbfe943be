"""The backends that come with ktpsync. Each is a plugin like anybody else's."""
