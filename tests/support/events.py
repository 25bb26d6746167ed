"""Events, filters and users for tests of the event streams: few values of each, so that they meet."""

from typing import Any

from hypothesis import strategies as st

from marketstream.core.events.event import Event, Priority, User
from marketstream.core.events.filter import Filter

AT_MS = 1_700_000_000_000
TENANTS = ("acme", "globex")
USERS: tuple[User, ...] = tuple((tenant, f"u{number}") for tenant in TENANTS for number in range(3))
NAMES = ("a", "b", "c")
TYPES, EVENT_NAMES, SYMBOLS = ("pattern", "alert", "halt"), ("wedge", "flag"), ("AAPL", "MSFT", "EUR/USD")
TIERS = ("daily", "intraday", "combo")
# Thresholds of one step of the index and of several, the ends included.
CONFIDENCES = (0.0, 0.5, 0.501, 0.502, 0.9, 1.0)


def event(id_: str = "e1", **fields: Any) -> Event:
    """An alert of medium priority about nothing in particular."""
    given = {"type": "alert", "name": "wedge", "priority": Priority.MEDIUM, "at_ms": AT_MS}
    return Event(id=id_, **{**given, **fields})


def _some(values: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.none() | st.frozensets(st.sampled_from(values), min_size=1)


EVENTS = st.builds(
    event,
    type=st.sampled_from(TYPES),
    name=st.sampled_from(EVENT_NAMES),
    symbol=st.none() | st.sampled_from(SYMBOLS),
    tier=st.none() | st.sampled_from(TIERS),
    confidence=st.none() | st.sampled_from(CONFIDENCES) | st.floats(0, 1),
    priority=st.sampled_from(Priority),
    tenant=st.none() | st.sampled_from((*TENANTS, "initech")),
)
FILTERS = st.builds(
    Filter,
    types=_some(TYPES),
    names=_some(EVENT_NAMES),
    symbols=_some(SYMBOLS),
    tiers=_some(TIERS),
    min_confidence=st.none() | st.sampled_from(CONFIDENCES) | st.floats(0, 1),
    min_priority=st.none() | st.sampled_from(Priority),
)
