"""Event streams: who wants to hear of an event, and when each of them is told."""
