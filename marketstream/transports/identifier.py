"""Public names of connections."""

from functools import partial
from secrets import token_urlsafe

BYTES = 15
"""Enough that nobody guesses the name of somebody else's connection."""


new_identifier = partial(token_urlsafe, BYTES)
"""Make a name no other connection has, in characters that need no quoting anywhere."""
