"""The budget that processes share through Redis: what all of them asked of a provider counts as one.

A Redis that is away, or slow, costs a question a quarter of a second, and is then left alone for a second.
Meanwhile each process goes by what it asked itself, so that several of them may ask more than the allowance;
the provider's own 429 ends that.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from redis.exceptions import RedisError

from marketstream.bus.client import Client, Script, Word
from marketstream.core.quota import Allowance, Quota
from marketstream.ports import Budget, Clock
from marketstream.wire import keys

log = structlog.get_logger(__name__)

PATIENCE = 0.25
"""Seconds that an answer of Redis may take."""

PAUSE = 1.0
"""Seconds for which a Redis that did not answer is not asked."""

_LUA = Path(__file__).parent / "lua"
TAKE = Script((_LUA / "budget.lua").read_text())
SPEND = Script((_LUA / "spend.lua").read_text())


class RedisBudget:
    """See `ports.Budget`.

    Args:
        client: Speaks to Redis; closed by who made it.
        allowances: What each provider allows, by its name, the same in every process; any other allows
            everything.
        clock: Time, for what this process asked itself.
    """

    def __init__(self, client: Client, allowances: Mapping[str, Allowance], *, clock: Clock) -> None:
        self._client = client
        self._allowances = dict(allowances)
        self._own = {name: Quota(allowance) for name, allowance in allowances.items()}
        self._clock = clock
        self._lost = False
        self._ask_again_at = 0.0

    async def take(self, provider: str) -> float:
        """See `ports.Budget.take`."""
        allowance = self._allowances.get(provider, Allowance(0, 0))
        own = self._own.setdefault(provider, Quota(allowance))
        wait_ms = await self._ask(TAKE, provider, [allowance.per_minute, allowance.per_day])
        if wait_ms is None:
            return own.take(self._clock.now(), self._clock.wall_ms())
        if wait_ms == 0:
            own.count(self._clock.wall_ms())
        return wait_ms / 1000

    async def spend(self, provider: str, seconds: float) -> None:
        """See `ports.Budget.spend`."""
        own = self._own.setdefault(provider, Quota(Allowance(0, 0)))
        own.spend(self._clock.now(), seconds)
        await self._ask(SPEND, provider, [round(seconds * 1000)])

    async def _ask(self, script: Script, provider: str, words: Sequence[Word]) -> int | None:
        """What a script answers; None when there is no Redis to run it."""
        if self._lost and self._clock.now() < self._ask_again_at:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                (reply,) = await self._client.evaluate(script, [([keys.budget(provider)], words)])
        except (RedisError, OSError) as error:  # a time-out is an OSError
            self._note_lost(error)
            return None
        self._lost = False
        return int(reply)

    def _note_lost(self, error: Exception) -> None:
        if not self._lost:
            log.warning("provider_budget_not_shared", reason=str(error) or type(error).__name__)
        self._lost = True
        self._ask_again_at = self._clock.now() + PAUSE


_: type[Budget] = RedisBudget
