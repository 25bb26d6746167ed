"""Who does what, among processes that share a Redis."""
