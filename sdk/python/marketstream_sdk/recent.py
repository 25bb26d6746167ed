"""Which ids were there of late; of those from before, the oldest are forgotten."""


class Recent:
    """The newest ids, up to a bound.

    Args:
        room: How many are remembered.
    """

    def __init__(self, room: int = 2_000) -> None:
        self._room = room
        self._ids: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ident: str) -> bool:
        """Notes an id; returns whether it is new."""
        if ident in self._ids:
            return False
        self._ids[ident] = None
        if len(self._ids) > self._room:
            del self._ids[next(iter(self._ids))]
        return True
