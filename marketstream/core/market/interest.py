"""Count who watches which symbols, with a linger after the last one left.

A symbol is wanted while anyone holds it, and for a while after the last one let go of it, so that a client
that comes back, or a gateway that starts again, costs no subscription upstream. A change costs what changed,
never what is held; nothing is remembered of what nobody demands. It is told the time, which never goes back,
and told to `expire`.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable

LINGER = 5.0
"""Seconds that a symbol stays wanted after the last one let go of it."""


class InterestCounts:
    """See the module; `len` and `in` are about the wanted symbols, as of the last call of `expire`.

    Args:
        linger: Seconds that a symbol stays wanted after the last one let go of it.

    Attributes:
        changes: How often a symbol became wanted or ceased to be.
    """

    __slots__ = ("_counts", "_held", "_linger", "_lingering", "changes")

    def __init__(self, linger: float = LINGER) -> None:
        self.changes = 0
        self._linger = linger
        self._held: dict[str, set[str]] = {}
        self._counts: dict[str, int] = {}
        # By the time at which they cease; a plain dictionary is slow at giving its first entries away.
        self._lingering: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts) + len(self._lingering)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._counts or symbol in self._lingering

    @property
    def ends_at(self) -> float | None:
        """When the next symbol ceases to be wanted if nobody holds it again; None: none will."""
        return next(iter(self._lingering.values()), None)

    def symbols(self) -> frozenset[str]:
        """Return every wanted symbol."""
        return frozenset(self._counts).union(self._lingering)

    def held_by(self, holder: str) -> Collection[str]:
        """Return what one holder holds."""
        return self._held.get(holder, ())

    def hold(self, holder: str, symbols: Iterable[str]) -> None:
        """Note that a holder watches symbols; those it holds already stay as they are."""
        held = self._held.setdefault(holder, set())
        for symbol in symbols:
            if symbol in held:
                continue
            held.add(symbol)
            count = self._counts[symbol] = self._counts.get(symbol, 0) + 1
            if count == 1 and self._lingering.pop(symbol, None) is None:
                self.changes += 1
        if not held:
            del self._held[holder]

    def release(self, holder: str, symbols: Iterable[str], now: float) -> None:
        """Note that a holder let go of symbols; those it does not hold are passed over."""
        held = self._held.get(holder, set())
        for symbol in symbols:
            if symbol not in held:
                continue
            held.remove(symbol)
            self._counts[symbol] -= 1
            if self._counts[symbol] == 0:
                del self._counts[symbol]
                self._lingering[symbol] = now + self._linger
        if not held:
            self._held.pop(holder, None)

    def replace(self, holder: str, symbols: Iterable[str], now: float) -> None:
        """Note that a holder holds these symbols and no others."""
        wanted, held = set(symbols), set(self.held_by(holder))
        self.hold(holder, wanted - held)
        self.release(holder, held - wanted, now)

    def forget(self, holder: str, now: float) -> None:
        """Let go of all that a holder held."""
        self.release(holder, list(self.held_by(holder)), now)

    def expire(self, now: float) -> None:
        """End the demand for what nobody has held for long enough."""
        while (ends_at := self.ends_at) is not None and ends_at <= now:
            self._lingering.popitem(last=False)
            self.changes += 1
