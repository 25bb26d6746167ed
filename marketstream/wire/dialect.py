"""Define how a transport wraps and joins frames."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from marketstream.core.delivery.frame import Frame

_LAST = 2**63


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """One way to put frames on a connection; there is one object for each, compared by identity.

    Attributes:
        name: Short name, as in metrics.
        wrap: Bytes of one frame on this kind of connection.
        joiner: What stands between two of them.
        by_cursor: Whether prices must go out in the order of their cursors: where the last one that a client
            has seen is what it comes back with. What has no cursor follows them.
    """

    name: str
    wrap: Callable[[Frame], bytes]
    joiner: bytes = b""
    by_cursor: bool = False

    def render(self, frames: Iterable[Frame]) -> bytes:
        """Return one write for many frames; each is wrapped at most once in a process."""
        if self.by_cursor:
            frames = sorted(frames, key=_cursor)
        return self.joiner.join([frame.wrapped.get(self) or self._wrap(frame) for frame in frames])

    def _wrap(self, frame: Frame) -> bytes:
        data = frame.wrapped[self] = self.wrap(frame)
        return data


def _cursor(frame: Frame) -> int:
    return frame.cursor or _LAST
