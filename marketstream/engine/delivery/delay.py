"""Hold prices and states back for delayed plans.

A delayed client sees each symbol as it was `delay` seconds ago, one value a second at most, and is told that
it is stale or closed as soon as the prices from before that have run out. Held is only what somebody uses: a
symbol with delayed clients, or one that was asked for lately. All lines together hold a bounded number of
bytes; when that is reached, the symbols take turns and each gets a value less often.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import structlog

from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.wire import messages

log = structlog.get_logger(__name__)

STEP = 1.0
"""Seconds between two values of a symbol in a line."""

LINGER = 5.0
"""Seconds for which a symbol is still held when its last client has left, who may be about to come back."""

OVERHEAD = 400
"""Bytes that a held price takes beside its body, about."""

MAX_BYTES = 128 * 1024 * 1024
"""Bytes that all lines may hold: about 225,000 prices."""

Field = tuple[str | None, str]
"""Tenant (None: everybody) and key, which is of the price of a symbol or of its state."""


class _Values:
    """What is held of one field.

    Attributes:
        newest: Cursor of the newest frame that was taken.
        waiting: Frames that are not old enough, and the monotonic seconds at which each is.
        released: The newest that is.
    """

    __slots__ = ("newest", "released", "waiting")

    def __init__(self) -> None:
        self.newest = 0
        self.waiting: deque[tuple[float, Frame]] = deque()
        self.released: Frame | None = None


class _Symbol:
    """One symbol that is held.

    Attributes:
        clients: Rooms of it that have members.
        until: Monotonic seconds until which it is held without any.
        values: What is held, by field.
    """

    __slots__ = ("clients", "until", "values")

    def __init__(self) -> None:
        self.clients = 0
        self.until = 0.0
        self.values: dict[Field, _Values] = {}


class DelayLine:
    """Prices on their way to being old enough.

    Args:
        delay: Seconds a price is held back.
        lines: Those that share the memory.

    Attributes:
        delay: Seconds a price is held back.
    """

    def __init__(self, delay: float, lines: "DelayLines") -> None:
        self.delay = delay
        self._lines = lines
        self._symbols: dict[str, _Symbol] = {}
        # What no step has taken yet. Whoever has waited longest is taken first, with its newest price.
        self._fresh: dict[Field, tuple[float, Frame]] = {}

    def __bool__(self) -> bool:
        """Return whether any symbol is held."""
        return bool(self._symbols)

    def watch(self, symbol: str) -> None:
        """Hold a symbol from now on; counted, so each call needs an `unwatch`."""
        self._hold(symbol).clients += 1

    def unwatch(self, symbol: str, now: float) -> None:
        """Take one `watch` back."""
        held = self._symbols[symbol]
        held.clients -= 1
        held.until = max(held.until, now + LINGER)

    def ask(self, symbol: str, now: float) -> None:
        """Hold a symbol for long enough that the next question about it has an answer."""
        held = self._hold(symbol)
        held.until = max(held.until, now + self.delay + LINGER)

    def begin(self, known: Iterable[Frame], now: float, at_ms: int) -> None:
        """Take the newest prices, and states, from before a symbol was held; a quiet one may have no other.

        Args:
            known: The newest of all; what is not held is left out.
            now: Monotonic seconds.
            at_ms: Epoch milliseconds now, on the clock of cursors.
        """
        # A state comes after the prices from before it.
        for frame in sorted(known, key=lambda frame: frame.event):
            held = self._symbols.get(frame.symbol)
            if held is None or (frame.tenant, frame.key) in held.values:
                continue
            if frame.event == messages.STATUS:
                if not messages.is_live(frame):
                    self._put_state(held, frame, now)
                    self._due(held.values[_state_field(frame.symbol)], now)
                continue
            age = max(0.0, at_ms / 1000 - frame.cursor / 1_000_000)
            if age < self.delay:
                self.put([frame], now - age)
            else:
                values = _values_of(held, frame)
                values.newest, values.released = frame.cursor, frame
                self._lines.take(frame)

    def put(self, frames: Iterable[Frame], at: float) -> None:
        """Take live prices, and states, of what is held.

        Args:
            frames: In order.
            at: Monotonic seconds at which they were published, or later.
        """
        for frame in frames:
            held = self._symbols.get(frame.symbol)
            if held is None:
                continue
            if frame.event == messages.STATUS:
                self._put_state(held, frame, at)
                continue
            values = _values_of(held, frame)
            if frame.cursor > values.newest:
                values.newest = frame.cursor
                self._fresh[frame.tenant, frame.symbol] = at, frame

    def release(self, now: float) -> list[Frame]:
        """Release what is old enough; called once a step.

        Returns:
            The prices that may be seen from now on, oldest first, and then the states.
        """
        self._let_go(now)
        out: list[Frame] = []
        for held in self._symbols.values():
            for values in held.values.values():
                out += self._due(values, now)
        # After what has left made room.
        self._take_in()
        return sorted(out, key=lambda frame: (frame.event, frame.cursor))

    def state(self, symbol: str, at_ms: int) -> Frame:
        """Return what a client is told of a symbol by now: the released state, or `delayed`.

        Args:
            symbol: Whose.
            at_ms: Epoch milliseconds now.
        """
        held = self._symbols.get(symbol)
        values = held.values.get(_state_field(symbol)) if held is not None else None
        if values is not None and values.released is not None:
            return values.released
        return messages.status(Status(symbol, "delayed", None, at_ms))

    def last(
        self, symbols: Sequence[str], tenant: str, known: Sequence[Frame] = (), at_ms: int = 0
    ) -> list[Frame]:
        """Return the newest price old enough to be seen, of each symbol that has one.

        Args:
            symbols: In the order in which they are wanted.
            tenant: Who may see them.
            known: The newest prices of all; one that was published long enough ago counts, also when this
                process did not hear of it then.
            at_ms: Epoch milliseconds now, on the clock of cursors.
        """
        before = at_ms * 1000 - self.delay * 1_000_000
        settled = {frame.symbol: frame for frame in known if frame.cursor <= before}
        found = []
        for symbol in symbols:
            seen = [*self._released(symbol, tenant), settled.get(symbol)]
            if candidates := [frame for frame in seen if frame is not None]:
                found.append(max(candidates, key=lambda frame: (frame.at_ms, frame.cursor)))
        return found

    def _released(self, symbol: str, tenant: str) -> Iterator[Frame | None]:
        if (held := self._symbols.get(symbol)) is not None:
            fields: list[Field] = [(None, symbol), (tenant, symbol)]
            yield from (held.values[field].released for field in fields if field in held.values)

    def _hold(self, symbol: str) -> _Symbol:
        held = self._symbols.get(symbol)
        if held is None:
            held = self._symbols[symbol] = _Symbol()
            self._lines.on_held(symbol)
        return held

    def _let_go(self, now: float) -> None:
        unused = [name for name, held in self._symbols.items() if not held.clients and held.until <= now]
        for symbol in unused:
            for field, values in self._symbols.pop(symbol).values.items():
                self._fresh.pop(field, None)
                self._lines.give_back(frame for _, frame in values.waiting)
                self._lines.give_back([values.released] if values.released else [])
            self._lines.on_dropped(symbol)

    def _due(self, values: _Values, now: float) -> list[Frame]:
        due = []
        while values.waiting and values.waiting[0][0] <= now:
            due.append(values.waiting.popleft()[1])
        if due:
            self._lines.give_back([values.released] if values.released else [])
            self._lines.give_back(due[:-1])
            values.released = due[-1]
        return due

    def _put_state(self, held: _Symbol, frame: Frame, at: float) -> None:
        """Take a state: not `live` from the last price before it on; otherwise with the next price.

        What a bus says of itself has no cursor.
        """
        values = _values_of(held, frame)
        if 0 < frame.cursor <= values.newest:
            return
        values.newest = max(values.newest, frame.cursor)
        due = at + self.delay
        if messages.is_live(frame):
            frame = messages.delayed(frame)
        else:
            due = self._runs_out(held, at)
        if values.waiting and not self._lines.has_room():
            self._lines.give_back([values.waiting.pop()[1]])
        values.waiting.append((due, frame))
        self._lines.take(frame)

    def _runs_out(self, held: _Symbol, now: float) -> float:
        """Return monotonic seconds at which the last is released of what is underway of a symbol."""
        underway = [values.waiting[-1][0] for values in held.values.values() if values.waiting]
        underway += [self._fresh[field][0] + self.delay for field in held.values if field in self._fresh]
        return max(underway, default=now)

    def _take_in(self) -> None:
        while self._fresh and self._lines.has_room():
            field = next(iter(self._fresh))
            at, frame = self._fresh.pop(field)
            # Its live clients have it by now: what was made for them is not kept that long.
            frame.wrapped.clear()
            self._symbols[frame.symbol].values[field].waiting.append((at + self.delay, frame))
            self._lines.take(frame)
        self._lines.put_off(len(self._fresh))


def _state_field(symbol: str) -> Field:
    return None, messages.status_key(symbol)


def _values_of(held: _Symbol, frame: Frame) -> _Values:
    return held.values.setdefault((frame.tenant, frame.key or ""), _Values())


class DelayLines:
    """All lines of a process, one for each delay, and the memory that they share.

    Args:
        on_held: Called with a symbol that a line holds from now on.
        on_dropped: Called with one that it no longer holds.
        max_bytes: Bytes that they may hold together.

    Attributes:
        on_held: See above.
        on_dropped: See above.
        frames: Prices that are held.
        bytes: Bytes that they take, about.
        waited: Prices that had to wait for another step because there was no room.
    """

    def __init__(
        self,
        *,
        on_held: Callable[[str], None],
        on_dropped: Callable[[str], None],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.on_held = on_held
        self.on_dropped = on_dropped
        self.frames = 0
        self.bytes = 0
        self.waited = 0
        self._max_bytes = max_bytes
        self._lines: dict[float, DelayLine] = {}
        self._is_full = False

    def __iter__(self) -> Iterator[DelayLine]:
        return iter(self._lines.values())

    def of(self, delay: float) -> DelayLine | None:
        """Return the line of a delay in seconds; None for no delay."""
        if delay <= 0:
            return None
        line = self._lines.get(delay)
        if line is None:
            line = self._lines[delay] = DelayLine(delay, self)
        return line

    def has_room(self) -> bool:
        """Return whether one more price may be held."""
        return self.bytes < self._max_bytes

    def take(self, frame: Frame) -> None:
        """Count a price that is held."""
        self.frames += 1
        self.bytes += OVERHEAD + len(frame.body)

    def give_back(self, frames: Iterable[Frame]) -> None:
        """Count prices that are no longer held."""
        for frame in frames:
            self.frames -= 1
            self.bytes -= OVERHEAD + len(frame.body)

    def put_off(self, count: int) -> None:
        """Count prices that no room was found for in one step of a line."""
        self.waited += count
        if count and not self._is_full:
            self._is_full = True
            log.warning("delayed_prices_thinned", frames=self.frames, bytes=self.bytes)
        elif not count and 2 * self.bytes < self._max_bytes:
            # Said again only after it was well: at the limit it would be said every second.
            self._is_full = False
