"""Places for connections in a server that is one process: a count for each user."""

from collections import Counter

from marketstream.errors import ConnectionLimitError
from marketstream.ports import ConnectionLimits


def limit_reached(limit: int) -> ConnectionLimitError:
    """What a user is told who has no place left."""
    return ConnectionLimitError(f"{limit} connections are open for this user")


class LocalConnectionLimits:
    """See `ports.Places`; answers at once. `len` is the number of users who have a place."""

    def __init__(self) -> None:
        self._taken: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._taken)

    def acquire(self, tenant: str, user: str, limit: int) -> None:
        """Takes a place."""
        if self._taken[tenant, user] >= limit:
            raise limit_reached(limit)
        self._taken[tenant, user] += 1

    def release(self, tenant: str, user: str) -> None:
        """Gives a place back."""
        self._taken[tenant, user] -= 1
        if self._taken[tenant, user] <= 0:
            del self._taken[tenant, user]


_: type[ConnectionLimits] = LocalConnectionLimits
