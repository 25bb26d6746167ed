"""Public names of connections."""

from secrets import token_urlsafe

BYTES = 15
"""Enough that nobody guesses the name of somebody else's connection."""


def new_identifier() -> str:
    """A name no other connection has, in characters that need no quoting anywhere."""
    return token_urlsafe(BYTES)
