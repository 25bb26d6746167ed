"""The budget of a process that shares it with nobody."""

from collections.abc import Mapping

from marketstream.core.quota import Allowance, Quota
from marketstream.ports import Budget, Clock


class MemoryBudget:
    """See `ports.Budget`; it forgets everything when the process ends.

    Args:
        allowances: What each provider allows, by its name; any other allows everything.
        clock: Time.
    """

    def __init__(self, allowances: Mapping[str, Allowance], *, clock: Clock) -> None:
        self._quotas = {name: Quota(allowance) for name, allowance in allowances.items()}
        self._clock = clock

    async def take(self, provider: str) -> float:
        """See `ports.Budget.take`."""
        return self._quota(provider).take(self._clock.now(), self._clock.wall_ms())

    async def spend(self, provider: str, seconds: float) -> None:
        """See `ports.Budget.spend`."""
        self._quota(provider).spend(self._clock.now(), seconds)

    def _quota(self, provider: str) -> Quota:
        return self._quotas.setdefault(provider, Quota(Allowance(0, 0)))


_: type[Budget] = MemoryBudget
