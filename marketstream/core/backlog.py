"""Describe how the bus is doing, for health and metrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backlog:
    """What became of frames that could not travel at once.

    Attributes:
        waiting: Frames that wait to be published.
        lost: Frames that found no room and that no newer one replaced.
        late: Frames that were left out because a newer one of their key was there already.
        refused: Whether what carries them is there and takes none.
        silent: Parts of the market that nobody feeds, as far as is known.
    """

    waiting: int = 0
    lost: int = 0
    late: int = 0
    refused: bool = False
    silent: int = 0
