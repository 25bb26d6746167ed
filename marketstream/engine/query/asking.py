"""For whom a question to providers is asked: known where it is asked, needed where a provider's budget is.

In between are providers, which know no users; so it travels with the task, as a context variable.
"""

from contextvars import ContextVar

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.query.quota import SERVER, Asker

ASKER: ContextVar[Asker] = ContextVar("asker", default=SERVER)
"""Who asks, in the present task and in those that it starts."""


def asker_of(who: Principal | None, *, known: bool) -> Asker:
    """Who asks.

    Args:
        who: A user; None: the server itself.
        known: Whether what is asked about is known to exist.
    """
    if who is None:
        return Asker(known=known)
    plan = who.plan
    return Asker((who.tenant, who.user), plan.name, plan.user_share, plan.plan_share, known)
