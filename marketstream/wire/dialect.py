"""What an edge needs to know to write frames: how one is wrapped and how several are joined."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from marketstream.core.frame import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """One way to put frames on a connection; there is one object for each, compared by identity.

    Attributes:
        name: Short name, as in metrics.
        wrap: Bytes of one frame on this kind of connection.
        joiner: What stands between two of them.
    """

    name: str
    wrap: Callable[[Frame], bytes]
    joiner: bytes = b""

    def render(self, frames: Collection[Frame]) -> bytes:
        """One write for many frames; each is wrapped at most once in a process."""
        if len(frames) == 1:
            for frame in frames:
                return frame.wrapped.get(self) or self._wrap(frame)
        return self.joiner.join([frame.wrapped.get(self) or self._wrap(frame) for frame in frames])

    def _wrap(self, frame: Frame) -> bytes:
        data = frame.wrapped[self] = self.wrap(frame)
        return data
