"""For whom a question to providers is asked: known where it is asked, needed where a provider's budget is.

In between are providers, which know no users; so it travels with the task, as a context variable.
"""

from contextvars import ContextVar

from marketstream.core.query.quota import SERVER, Asker

ASKER: ContextVar[Asker] = ContextVar("asker", default=SERVER)
"""Who asks, in the present task and in those that it starts."""
