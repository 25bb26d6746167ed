"""Carry the user on whose behalf a provider is asked.

In between are providers, which know no users; so it travels with the task, as a context variable.
"""

from contextvars import ContextVar

from marketstream.core.query.quota import SERVER, Asker

ASKER: ContextVar[Asker] = ContextVar("asker", default=SERVER)
"""Who asks, in the present task and in those that it starts."""
