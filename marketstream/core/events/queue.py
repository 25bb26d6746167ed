"""A line in which those who matter more stand in front, and those who matter least are sent away first."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from marketstream.core.events.event import Priority

ItemT = TypeVar("ItemT")


class PriorityQueue(Generic[ItemT]):
    """Items by priority: higher ones first, and in the order in which they came within a priority.

    It has no bound of its own; who puts something in sends somebody away.
    """

    __slots__ = ("_count", "_lanes")

    def __init__(self) -> None:
        self._count = 0
        # There are many queues and most are empty, so a lane is there only while somebody stands in it.
        self._lanes: dict[Priority, deque[ItemT]] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ItemT]:
        """The items in the order in which they would be taken."""
        return (item for priority in sorted(self._lanes, reverse=True) for item in self._lanes[priority])

    @property
    def first(self) -> ItemT:
        """The item that `take` would give.

        Raises:
            ValueError: There is none.
        """
        return self._lanes[max(self._lanes)][0]

    def put(self, item: ItemT, priority: Priority) -> None:
        """Puts an item behind those of its priority."""
        self._lanes.setdefault(priority, deque()).append(item)
        self._count += 1

    def sort(self, key: Callable[[ItemT], int]) -> None:
        """Puts the items of each priority into the order of a key, lowest first."""
        for priority, lane in self._lanes.items():
            self._lanes[priority] = deque(sorted(lane, key=key))

    def take(self) -> ItemT:
        """Takes the oldest item of the highest priority.

        Raises:
            ValueError: There is none.
        """
        return self._pop(max(self._lanes))

    def shed(self) -> ItemT:
        """Takes the oldest item of the lowest priority.

        Raises:
            ValueError: There is none.
        """
        return self._pop(min(self._lanes))

    def _pop(self, priority: Priority) -> ItemT:
        lane = self._lanes[priority]
        item = lane.popleft()
        self._count -= 1
        if not lane:
            del self._lanes[priority]
        return item
