"""Count questions to providers over all processes.

A Redis that is away, or slow, costs a question a quarter of a second, and is then left alone for a second.
Meanwhile each process goes by what it asked itself, so that several of them may ask more than the allowance;
the provider's own 429 ends that.
"""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import structlog
from redis.exceptions import RedisError

from marketstream.bus.client import Client, Script, Word
from marketstream.core.query.quota import SERVER, Allowance, Asker, Quotas, shares
from marketstream.errors import ProviderShareError
from marketstream.ports import Clock, ProviderQuota
from marketstream.wire import keys

log = structlog.get_logger(__name__)

PATIENCE = 0.25
"""Seconds that an answer of Redis may take."""

PAUSE = 1.0
"""Seconds for which a Redis that did not answer is not asked."""

_LUA = files("marketstream.coordination").joinpath("lua")
TAKE = Script(_LUA.joinpath("provider_quota.lua").read_text())
SPEND = Script(_LUA.joinpath("spend.lua").read_text())


class RedisProviderQuota:
    """See `ports.ProviderQuota`.

    Args:
        client: Speaks to Redis; closed by who made it.
        allowances: What each provider allows, by its name, the same in every process; any other allows
            everything.
        clock: Time, for what this process asked itself.
        reserve: Part of each allowance that is kept for what is known to exist.
    """

    def __init__(
        self,
        client: Client,
        allowances: Mapping[str, Allowance],
        *,
        clock: Clock,
        reserve: float = 0.0,
    ) -> None:
        self._client = client
        self._allowances = dict(allowances)
        self._own = Quotas(allowances)
        self._reserve = reserve
        self._clock = clock
        self._lost = False
        self._ask_again_at = 0.0

    async def take(self, provider: str, asker: Asker = SERVER) -> float:
        """See `ports.ProviderQuota.take`."""
        whole = self._allowances.get(provider, Allowance(0, 0))
        parts = shares(whole, asker, self._reserve)
        names = [
            keys.provider_quota(provider),
            *(keys.provider_quota_share(provider, part.name) for part in parts),
        ]
        allowed = [
            number for each in (whole, *(part.allowance for part in parts)) for number in _limits(each)
        ]
        found = await self._ask(TAKE, names, allowed)
        if found is None:
            wait, spent = self._own.take(provider, parts, self._clock.now(), self._clock.wall_ms())
        else:
            wait_ms, where = map(int, found)
            wait, spent = wait_ms / 1000, parts[where - 2] if where > 1 else None
            if not wait:
                self._own.count(provider, parts, self._clock.wall_ms())
        if spent is not None:
            raise ProviderShareError(provider, spent.whose, wait)
        return wait

    async def spend(self, provider: str, seconds: float) -> None:
        """See `ports.ProviderQuota.spend`."""
        self._own.spend(provider, self._clock.now(), seconds)
        await self._ask(SPEND, [keys.provider_quota(provider)], [round(seconds * 1000)])

    async def _ask(self, script: Script, names: Sequence[str], words: Sequence[Word]) -> Any:  # noqa: ANN401  # as of redis-py
        """Return what a script answers; None when there is no Redis to run it."""
        if self._lost and self._clock.now() < self._ask_again_at:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                (reply,) = await self._client.evaluate(script, [(names, words)])
        except (RedisError, OSError) as error:  # a time-out is an OSError
            self._note_lost(error)
            return None
        self._lost = False
        return reply

    def _note_lost(self, error: Exception) -> None:
        if not self._lost:
            log.warning("provider_budget_not_shared", reason=str(error) or type(error).__name__)
        self._lost = True
        self._ask_again_at = self._clock.now() + PAUSE


def _limits(allowance: Allowance) -> tuple[int, int]:
    return allowance.per_minute, allowance.per_day


_: type[ProviderQuota] = RedisProviderQuota
