"""Count each user's connections in one process."""

from collections import Counter

from marketstream.errors import ConnectionLimitError
from marketstream.ports import ConnectionLimits


def limit_reached(limit: int) -> ConnectionLimitError:
    """Return the error of a user who has too many connections."""
    return ConnectionLimitError(f"{limit} connections are open for this user")


class LocalConnectionLimits:
    """See `ports.ConnectionLimits`; answers at once. `len` is the number of users with connections."""

    def __init__(self) -> None:
        self._taken: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._taken)

    def acquire(self, tenant: str, user: str, limit: int) -> None:
        """Count one connection of a user, if it is allowed."""
        if self._taken[tenant, user] >= limit:
            raise limit_reached(limit)
        self._taken[tenant, user] += 1

    def release(self, tenant: str, user: str) -> None:
        """Give a connection back."""
        self._taken[tenant, user] -= 1
        if self._taken[tenant, user] <= 0:
            del self._taken[tenant, user]


_: type[ConnectionLimits] = LocalConnectionLimits
