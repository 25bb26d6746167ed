"""Define the frame: a body encoded once, and what is needed to route it unread.

A frame is shared by every client it goes to, so nothing may change it after it was published; the two
exceptions are made for speed and are written once: the cursor, by the bus, and `wrapped`, by the wire.
"""

from collections.abc import Hashable

Trade = tuple[float, float | None]
"""Price of a trade, and the volume of the day where its source has it."""


class Frame:
    """One encoded message on its way to many clients.

    Attributes:
        event: Name of the event; empty for a message that is already complete in its dialect.
        body: The JSON of the event's payload, or the complete message when `event` is empty.
        key: Frames of one key replace each other in an outbox; None means that each one counts.
        symbol: Symbol of a price; empty for everything else.
        tenant: The only tenant that may see it; None means all.
        cursor: Microseconds given by the bus at publishing, strictly rising per symbol; 0 before.
        at_ms: Source time in epoch milliseconds; 0 where there is none.
        trade: Of a price: the last trade's price, and the volume that came with it; None without trades.
        withheld: Tenants that must not see it, because they have a newer value of their own.
        arity: How many JSON values the body holds, separated by commas.
        wrapped: The message as bytes on the wire, per dialect, made at most once in a process.
    """

    __slots__ = (
        "arity",
        "at_ms",
        "body",
        "cursor",
        "event",
        "key",
        "symbol",
        "tenant",
        "trade",
        "withheld",
        "wrapped",
    )

    def __init__(  # noqa: PLR0913  # each is a part of what travels, all but two by name
        self,
        event: str,
        body: bytes,
        *,
        key: str | None = None,
        symbol: str = "",
        tenant: str | None = None,
        at_ms: int = 0,
        arity: int = 1,
        withheld: frozenset[str] = frozenset(),
        trade: Trade | None = None,
    ) -> None:
        self.event = event
        self.body = body
        self.key = key
        self.symbol = symbol
        self.tenant = tenant
        self.at_ms = at_ms
        self.arity = arity
        self.withheld = withheld
        self.trade = trade
        self.cursor = 0
        self.wrapped: dict[Hashable, bytes] = {}

    def __repr__(self) -> str:
        return f"Frame({self.event!r}, key={self.key!r}, tenant={self.tenant!r}, cursor={self.cursor})"
