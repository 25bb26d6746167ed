"""From frames to clients."""
