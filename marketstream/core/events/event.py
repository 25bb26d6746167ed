"""Define the event of a back end.

An `Event` is what a back end said, checked and never changed. Its data stay the JSON they came as: nothing
in the core reads them, and bytes that nobody reads need not be made twice.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

User = tuple[str, str]
"""Tenant and user: a user's name means nothing without the tenant."""

Tier = Literal["daily", "intraday", "combo"]


class Priority(IntEnum):
    """How much an event matters; more is greater. CRITICAL waits for nothing and is never left out."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        id: Tells it from other events of its tenant; given by its sender, or made.
        type: Kind of event, such as `pattern`.
        name: What exactly, such as `double-bottom`.
        priority: How much it matters.
        at_ms: Epoch milliseconds when it happened.
        symbol: Upper-case symbol that it is about; None when it is about none.
        tier: Span of time that it looks at; None when that does not apply.
        confidence: From 0 to 1; None when that does not apply.
        expires_at_ms: Epoch milliseconds from which on it is of no use; None means never.
        tenant: The only tenant that may hear of it; None means all.
        data: A JSON object, encoded.
    """

    id: str
    type: str
    name: str
    priority: Priority
    at_ms: int
    symbol: str | None = None
    tier: Tier | None = None
    confidence: float | None = None
    expires_at_ms: int | None = None
    tenant: str | None = None
    data: bytes = b"{}"
