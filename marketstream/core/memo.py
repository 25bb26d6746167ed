"""A dictionary with a bound, for what can be worked out anew when it is missing.

Promises never to hold more entries than it may: what was put first gives way, however often it was used. To
look something up costs what it costs in any dictionary.
"""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """See the module; other ways to fill a dictionary than `memo[key] = value` know of no bound.

    Args:
        most: Entries it may hold, at least one.
    """

    __slots__ = ("_most",)

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= self._most and key not in self:
            del self[next(iter(self))]
        super().__setitem__(key, value)
