"""Count questions to providers in one process."""

from collections.abc import Mapping

from marketstream.core.query.quota import SERVER, Allowance, Asker, Quotas, shares
from marketstream.errors import ProviderShareError
from marketstream.ports import Clock, ProviderQuota


class MemoryProviderQuota:
    """See `ports.ProviderQuota`; it forgets everything when the process ends.

    Args:
        allowances: What each provider allows, by its name; any other allows everything.
        clock: Time.
        reserve: Part of each that is kept for what is known to exist.
    """

    def __init__(self, allowances: Mapping[str, Allowance], *, clock: Clock, reserve: float = 0.0) -> None:
        self._allowances = dict(allowances)
        self._quotas = Quotas(allowances)
        self._clock = clock
        self._reserve = reserve

    async def take(self, provider: str, asker: Asker = SERVER) -> float:
        """See `ports.ProviderQuota.take`."""
        parts = shares(self._allowances.get(provider, Allowance(0, 0)), asker, self._reserve)
        wait, spent = self._quotas.take(provider, parts, self._clock.now(), self._clock.wall_ms())
        if spent is not None:
            raise ProviderShareError(provider, spent.whose, wait)
        return wait

    async def spend(self, provider: str, seconds: float) -> None:
        """See `ports.ProviderQuota.spend`."""
        self._quotas.spend(provider, self._clock.now(), seconds)


_: type[ProviderQuota] = MemoryProviderQuota
