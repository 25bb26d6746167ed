"""Frames, and who gets which."""
