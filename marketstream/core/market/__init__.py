"""Quotes of many sources, and the one price they become."""
