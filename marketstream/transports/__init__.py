"""The edges clients connect to, all on the same session, hub and flusher."""
