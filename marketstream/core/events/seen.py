"""Recognise events that came before, for five minutes.

Ids are a tenant's own, so nobody can silence the events of another tenant by guessing theirs. What is
remembered is bounded for each tenant, and only of tenants who sent something lately.
"""

from collections import OrderedDict

TTL = 300.0
CAPACITY = 100_000


class Seen:
    """Ids of late.

    Args:
        ttl: Seconds for which an id is remembered, from when it came first.
        capacity: Ids of one tenant that are remembered, at least 1.

    Raises:
        ValueError: It could not remember any.

    Attributes:
        repeated: Ids that came again.
        forgotten: Ids that were forgotten before their time, because their tenant sent too many.
    """

    __slots__ = ("_capacity", "_tenants", "_ttl", "forgotten", "repeated")

    def __init__(self, ttl: float = TTL, capacity: int = CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"a memory of {capacity} ids holds none")
        self._ttl, self._capacity = ttl, capacity
        # Tenants in the order of their newest ids, and of each its ids with when they came, oldest first.
        self._tenants: OrderedDict[str | None, OrderedDict[str, float]] = OrderedDict()
        self.repeated = self.forgotten = 0

    def __len__(self) -> int:
        """Ids that are remembered."""
        return sum(len(ids) for ids in self._tenants.values())

    def first(self, tenant: str | None, event: str, now: float) -> bool:
        """Note an id and tell whether it is the first time.

        Args:
            tenant: The tenant whose event it is; None for events that are for all.
            event: Id of the event.
            now: Monotonic seconds.
        """
        self._forget(tenant, now)
        ids = self._tenants.setdefault(tenant, OrderedDict())
        if event in ids:
            self.repeated += 1
            return False
        if len(ids) >= self._capacity:
            ids.popitem(last=False)
            self.forgotten += 1
        ids[event] = now
        self._tenants.move_to_end(tenant)
        return True

    def _forget(self, tenant: str | None, now: float) -> None:
        """Forget the old ids of a tenant, and all tenants of whom nothing newer is known."""
        while self._tenants and self._newest() + self._ttl <= now:
            self._tenants.popitem(last=False)
        ids = self._tenants.get(tenant)
        while ids and next(iter(ids.values())) + self._ttl <= now:
            ids.popitem(last=False)

    def _newest(self) -> float:
        """Return when the newest id came of the tenant who has been silent for longest."""
        return next(reversed(next(iter(self._tenants.values())).values()))
