"""What clients see, held to what they were promised: nothing older, nobody else's, nothing stale unsaid.

The witness is told of every word that a client gets and, a few times a second, of the time. It collects what
is wrong in `faults`, a sentence each.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

STALE = "stale"
FLOWS = ("live", "delayed")
"""What is said of what is not stale, `delayed` to those who see it late."""

LIVE = "live"
UNSAID = "should have been said to be stale"
PAUSE = 2.0
"""Seconds without a new value, after which the next one may come before the word that it moves again."""

MOST_FAULTS = 4
"""Faults of a kind that are kept: they come in crowds."""


@dataclass(slots=True)
class Client:
    """One client and all that it knows.

    Attributes:
        name: Its name.
        edge: How it is connected.
        gateway: To whom.
        tenant: Whose it is.
        plan: Its plan, which may show prices late.
        up_at: When the server took its subscription, by the clock of the witness; None while it has none.
        values: The newest value and its time (epoch milliseconds) by symbol.
        moved_at: When that came.
        came_at: When any value came, also one whose time is no newer: clocks of publishers go back.
        moving_since: Since when new ones have come without a pause of more than `PAUSE`.
        revived_at: When it was last told on this connection that what was stale is live, or delayed.
        states: What it was last told of a symbol on this connection, and when.
    """

    name: str
    edge: str
    gateway: str
    tenant: str
    plan: str
    up_at: float | None = None
    values: dict[str, tuple[float, float]] = field(default_factory=dict)
    moved_at: dict[str, float] = field(default_factory=dict)
    came_at: dict[str, float] = field(default_factory=dict)
    moving_since: dict[str, float] = field(default_factory=dict)
    revived_at: dict[str, float] = field(default_factory=dict)
    states: dict[str, tuple[str, float]] = field(default_factory=dict)


class Witness:
    """See the module.

    Args:
        clients: Those who see.
        moving: Symbols that move all the time unless something is broken.
        owners: Tenant by number from which on values are its own, at steps of a million.
        bound: Seconds in which a client must have been told that a symbol which moves no more is stale.
        clear: Says since when nothing has stood between a gateway and its clients, by the same clock.

    Attributes:
        faults: What was wrong, with the time since `began`.
        began: When the first harm could be done.
        seen: How many prices came.
        latest: The longest time in which a symbol stood still until that was said, seconds.
        latest_end: The longest time in which one moved that was said to be stale.
    """

    def __init__(
        self,
        clients: Collection[Client],
        *,
        moving: Collection[str],
        owners: Mapping[int, str],
        bound: float,
        clear: Callable[[str], float],
    ) -> None:
        self.clients = {client.name: client for client in clients}
        self.faults: list[str] = []
        self.began = 0.0
        self.seen = 0
        self.latest = 0.0
        self.latest_end = 0.0
        self._moving = moving
        self._owners = owners
        self._bound = bound
        self._clear = clear
        self._counts: Counter[str] = Counter()
        self._awake_since = 0.0
        self._beat_at: float | None = None

    def take(self, now: float, name: str, kind: str, *data: Any) -> None:
        """Takes a word of a client: `up`, `down`, `price`, `state` or `fault`, or a `beat` of all of them."""
        if kind == "beat":
            self._beat(now)
            return
        client = self.clients[name]
        match kind, data:
            case "up", _:
                client.up_at = now
            case "down", _:
                client.up_at = None
                client.states.clear()
                client.revived_at.clear()
            case "price", (symbol, value, at_ms):
                self._price(now, client, symbol, value, at_ms)
            case "state", (symbol, state):
                self._state(now, client, symbol, state)
            case _:
                self.fault(now, "a word that nobody expects", f"{name}, {kind} {data}")

    def look(self, now: float) -> None:
        """Looks for symbols that have not moved for too long at somebody who was not told so."""
        self._beat(now, at_most=True)
        for client in self.clients.values():
            if client.up_at is not None:
                free = max(client.up_at, self._clear(client.gateway), self._awake_since)
                for symbol in self._moving:
                    self._look_at(now, client, symbol, free)

    def fault(self, now: float, kind: str, text: str) -> None:
        """Notes that something was wrong; the first of a kind are enough."""
        self._counts[kind] += 1
        if self._counts[kind] <= MOST_FAULTS:
            self.faults.append(f"{now - self.began:7.2f} s  {kind}: {text}")

    def _look_at(self, now: float, client: Client, symbol: str, free: float) -> None:
        state, since = client.states.get(symbol, (LIVE, free))
        if state in (STALE, UNSAID):
            return
        if now - max(free, since, client.moved_at.get(symbol, free)) <= self._bound:
            return
        kind = f"stands still at {client.gateway} and was not said to be stale"
        self.fault(now, kind, f"{symbol}, {client.name}")
        client.states[symbol] = UNSAID, now

    def _state(self, now: float, client: Client, symbol: str, state: str) -> None:
        """Takes what is said of a symbol: that it is live again may turn out to be wrong once, not again."""
        free = max(client.up_at or now, self._clear(client.gateway), self._awake_since)
        before, since = client.states.get(symbol, (LIVE, free))
        client.states[symbol] = state, now
        if symbol not in self._moving:
            return
        if before != STALE and state == STALE:
            self.latest = max(self.latest, now - max(free, since, client.moved_at.get(symbol, free)))
        if before != STALE or state not in FLOWS:
            return
        revived = client.revived_at.get(symbol)
        client.revived_at[symbol] = now
        if revived is not None and client.came_at.get(symbol, revived) <= revived:
            self.fault(now, "was said to be live twice and no price came", f"{symbol}, {client.name}")

    def _price(self, now: float, client: Client, symbol: str, value: float, at_ms: float) -> None:
        self.seen += 1
        client.came_at[symbol] = now
        _, before = client.values.get(symbol, (0.0, 0.0))
        if at_ms < before:
            self.fault(now, "older", f"{symbol} of {at_ms:.0f} after that of {before:.0f}, {client.name}")
        owner = self._owners.get(int(value // 1_000_000))
        if owner not in (None, client.tenant):
            self.fault(now, f"what is {owner}'s", f"{symbol} is {value}, {client.name}")
        moved = at_ms > before
        client.values[symbol] = value, max(at_ms, before)
        state, since = client.states.get(symbol, (LIVE, now))
        if moved:
            if now - client.moved_at.get(symbol, now - 2 * PAUSE) > PAUSE:
                client.moving_since[symbol] = now
            client.moved_at[symbol] = now
            since = max(since, client.moving_since[symbol])
            if state == STALE and symbol in self._moving:
                self.latest_end = max(self.latest_end, now - since)
            if state == STALE and symbol in self._moving and now - since > self._bound:
                self.fault(now, "moves and was last said to be stale", f"{symbol}, {client.name}")
                client.states[symbol] = LIVE, now

    def _beat(self, now: float, *, at_most: bool = False) -> None:
        """Notes a time in which nobody here could see anything, because the machine was busy elsewhere."""
        if self._beat_at is not None and now - self._beat_at > 1:
            self._awake_since = now
        if not at_most:
            self._beat_at = now
