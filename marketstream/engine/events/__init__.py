"""Event streams in one process: events come in, find their users, wait together and go out by the flusher."""
