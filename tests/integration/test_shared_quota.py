"""The quota of several processes on a real Valkey: shared, forgotten in time, replaced when it is away."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.coordination.provider_quota import PAUSE, RedisProviderQuota
from marketstream.core.query.quota import Allowance, Asker
from marketstream.errors import ProviderShareError
from marketstream.wire import keys
from tests.support.clock import FakeClock
from tests.support.eventually import eventually
from tests.support.valkey import Valkey, running_valkey

KEY = keys.provider_quota("fmp")


class Process:
    """A quota as a process has it."""

    def __init__(self, valkey: Valkey, per_minute: int = 0, per_day: int = 4) -> None:
        self.clock = FakeClock()
        bus = build_bus(valkey.url, clock=self.clock)
        assert isinstance(bus, RedisBus)
        self._client = bus.client
        allowances = {"fmp": Allowance(per_minute, per_day)}
        self.quota = RedisProviderQuota(self._client, allowances, clock=self.clock)

    async def connect(self) -> "Process":
        """Waits until Redis answers in time."""

        async def answered() -> bool:
            await self.quota.take("nobody")
            self.clock.advance(PAUSE)
            return not self.quota._lost

        await eventually(answered, what="an answer of Redis")
        return self

    async def take(self) -> bool:
        """Whether a question may be asked."""
        return await self.quota.take("fmp") == 0

    async def aclose(self) -> None:
        """Lets go of connections."""
        await self._client.aclose()


@pytest.fixture
async def pair(valkey: Valkey) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes on one Valkey."""
    one, two = await Process(valkey).connect(), await Process(valkey).connect()
    yield one, two
    await one.aclose()
    await two.aclose()


async def test_processes_share_what_may_be_asked(pair: tuple[Process, Process]) -> None:
    one, two = pair
    assert [await process.take() for process in (one, two, one, two, one, two)] == [True] * 4 + [False] * 2


async def test_processes_share_what_a_user_may_ask(pair: tuple[Process, Process]) -> None:
    """A half of four; the rest is there for others."""
    one, two = pair
    ann = Asker(("acme", "ann"), "basic", 0.5)
    assert [await process.quota.take("fmp", ann) for process in (one, two)] == [0, 0]
    for process in (one, two):
        with pytest.raises(ProviderShareError):
            await process.quota.take("fmp", ann)
    assert [await process.take() for process in (one, two, one)] == [True, True, False]


async def test_what_one_process_is_told_counts_for_all(pair: tuple[Process, Process]) -> None:
    one, two = pair
    await one.quota.spend("fmp", 30)
    assert not await two.take()


async def test_another_minute_and_another_day_begin_anew(valkey: Valkey) -> None:
    process = await Process(valkey, per_minute=1, per_day=2).connect()
    with valkey.client() as client:
        assert await process.take()
        client.hincrby(KEY, "minute", -1)
        assert await process.take()
        client.hincrby(KEY, "minute", -1)
        assert not await process.take()
        client.hincrby(KEY, "day", -1)
        assert await process.take()
    await process.aclose()


async def test_a_quota_is_forgotten_when_its_day_is_over(valkey: Valkey) -> None:
    process = await Process(valkey).connect()
    await process.take()
    with valkey.client() as client:
        seconds, _ = client.time()
        ends = client.pttl(KEY) / 1000 + seconds
        assert ends == pytest.approx((seconds // 86_400 + 1) * 86_400, abs=2)
        await process.quota.spend("fmp", 200_000)
        assert client.pttl(KEY) / 1000 == pytest.approx(200_000, abs=2)
    await process.aclose()


async def test_without_redis_a_process_goes_by_what_it_asked_itself() -> None:
    """What it asked before, while Redis was there, counts too."""
    with running_valkey() as valkey:
        process = await Process(valkey).connect()
        assert [await process.take() for _ in range(2)] == [True] * 2
        valkey.kill()
        with capture_logs() as logs:
            assert [await process.take() for _ in range(3)] == [True, True, False]
        assert [entry["event"] for entry in logs] == ["provider_budget_not_shared"]
        await process.aclose()


async def test_a_redis_that_hangs_costs_one_question_a_moment_and_the_next_nothing() -> None:
    with running_valkey() as valkey:
        process = await Process(valkey).connect()
        valkey.pause()
        assert await process.take()
        assert process.quota._lost
        await process.quota.spend("fmp", 10)
        assert not await process.take()
        valkey.go_on()
        process.clock.advance(10)
        await process.connect()
        assert await process.take()
        await process.aclose()
