"""Prices held back for plans that may not see them live.

A delayed client sees each symbol as it was `delay` seconds ago, one value a second at most: that bounds
the memory of a delay line by symbols times seconds, however fast the market moves.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from marketstream.core.frame import Frame

STEP = 1.0
"""Seconds between two values of a symbol in the line."""

Key = tuple[str | None, str]


class DelayLine:
    """Frames on their way to being old enough.

    Attributes:
        delay: Seconds a frame is held back.
    """

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self._current: dict[Key, Frame] = {}
        self._waiting: deque[tuple[float, list[Frame]]] = deque()
        self._released: dict[Key, Frame] = {}

    def put(self, frames: Iterable[Frame]) -> None:
        """Takes live prices."""
        for frame in frames:
            self._current[frame.tenant, frame.symbol] = frame

    def release(self, now: float) -> list[Frame]:
        """Called once a step.

        Returns:
            The prices that may be seen from now on, oldest first.
        """
        if self._current:
            self._waiting.append((now + self.delay, list(self._current.values())))
            self._current = {}
        out: list[Frame] = []
        while self._waiting and self._waiting[0][0] <= now:
            out += self._waiting.popleft()[1]
        self._released.update(((frame.tenant, frame.symbol), frame) for frame in out)
        return out

    def last(
        self, symbols: Sequence[str], tenant: str, known: Sequence[Frame] = (), at_ms: int = 0
    ) -> list[Frame]:
        """The newest price old enough to be seen, of each symbol that has one.

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
            seen = (*(self._released.get((t, symbol)) for t in (None, tenant)), settled.get(symbol))
            if candidates := [frame for frame in seen if frame is not None]:
                found.append(max(candidates, key=lambda frame: (frame.at_ms, frame.cursor)))
        return found
