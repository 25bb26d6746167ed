import asyncio
from collections.abc import Awaitable, Callable

import pytest

from marketstream.core.query.breaker import Breaker
from marketstream.core.query.quota import Allowance
from marketstream.errors import (
    MarketstreamError,
    ProviderDataError,
    ProviderError,
    ProviderQuotaError,
    ProviderRefusedError,
    ProviderRestingError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    UnknownSymbolError,
)
from marketstream.providers.guard import QUIET, Guard
from marketstream.providers.quota import MemoryProviderQuota
from tests.support.clock import FakeClock


class Gate:
    """A guard before a question whose outcome a test decides.

    Attributes:
        asked: How many questions were let through.
        took: Name and milliseconds of each.
    """

    def __init__(self, *, per_minute: int = 0, failures: int = 2, timeout: float = 2.0) -> None:
        self.clock = FakeClock()
        self.asked = 0
        self.took: list[tuple[str, float]] = []
        self.guard = Guard(
            name="fmp",
            timeout=timeout,
            quota=MemoryProviderQuota({"fmp": Allowance(per_minute, 0)}, clock=self.clock),
            breaker=Breaker(failures=failures, pause=10),
            clock=self.clock,
            observe=lambda name, ms: self.took.append((name, ms)),
        )

    def question(
        self, error: BaseException | None = None, seconds: float = 0.0
    ) -> Callable[[], Awaitable[str]]:
        """One that takes some time and fails, or is answered."""

        async def ask() -> str:
            self.asked += 1
            self.clock.advance(seconds)
            if error is not None:
                raise error
            return "answer"

        return ask

    async def ask(self, error: BaseException | None = None, seconds: float = 0.0) -> str:
        """Sends such a question."""
        return await self.guard.ask(self.question(error, seconds))


def of(kind: type[MarketstreamError]) -> MarketstreamError:
    return kind("fmp", "no") if issubclass(kind, ProviderError) else kind("no")


async def test_what_is_answered_is_handed_on_and_timed() -> None:
    gate = Gate()
    assert await gate.ask(seconds=0.25) == "answer"
    assert gate.took == [("fmp", 250.0)]


@pytest.mark.parametrize("kind", [ProviderTimeoutError, ProviderUnavailableError, ProviderDataError])
async def test_one_that_keeps_failing_is_left_alone(kind: type[MarketstreamError]) -> None:
    gate = Gate()
    for _ in range(2):
        with pytest.raises(kind):
            await gate.ask(of(kind), seconds=0.5)
    gate.clock.advance(4)
    with pytest.raises(ProviderRestingError) as resting:
        await gate.ask()
    assert resting.value.retry_after == 6
    assert not resting.value.retryable
    assert gate.asked == 2
    assert gate.took == [("fmp", 500.0)] * 2
    assert gate.guard.state == "open"
    gate.clock.advance(6)
    assert await gate.ask() == "answer"
    assert gate.guard.state == "closed"


@pytest.mark.parametrize("kind", [UnknownSymbolError, ProviderRefusedError])
async def test_a_no_is_an_answer_too(kind: type[MarketstreamError]) -> None:
    gate = Gate()
    for _ in range(5):
        with pytest.raises(kind):
            await gate.ask(of(kind))
    assert gate.guard.state == "closed"
    assert gate.asked == 5


async def test_a_spent_quota_costs_no_question() -> None:
    gate = Gate(per_minute=2)
    await gate.ask()
    await gate.ask()
    with pytest.raises(ProviderQuotaError) as spent:
        await gate.ask()
    assert gate.asked == 2
    assert spent.value.retry_after is not None
    gate.clock.advance(spent.value.retry_after)
    assert await gate.ask() == "answer"


@pytest.mark.parametrize(("told", "quiet"), [(7.0, 7.0), (None, QUIET)])
async def test_a_provider_that_says_its_quota_is_spent_is_not_asked_meanwhile(
    told: float | None, quiet: float
) -> None:
    gate = Gate()
    with pytest.raises(ProviderQuotaError):
        await gate.ask(ProviderQuotaError("fmp", "no", told))
    gate.clock.advance(quiet - 1)
    with pytest.raises(ProviderQuotaError) as spent:
        await gate.ask()
    assert spent.value.retry_after == pytest.approx(1)
    assert gate.asked == 1
    gate.clock.advance(1)
    assert await gate.ask() == "answer"


async def test_one_that_hangs_is_noticed_although_nobody_waits_for_its_time_out() -> None:
    gate = Gate(timeout=2.0)
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            await gate.ask(asyncio.CancelledError(), seconds=1.0)
    assert gate.guard.state == "open"


async def test_a_caller_who_leaves_early_says_nothing_about_the_provider() -> None:
    gate = Gate(timeout=2.0)
    for _ in range(5):
        with pytest.raises(asyncio.CancelledError):
            await gate.ask(asyncio.CancelledError(), seconds=0.9)
    assert gate.guard.state == "closed"


async def test_a_try_that_the_quota_refuses_is_the_next_ones_turn() -> None:
    gate = Gate(per_minute=2)
    for _ in range(2):
        with pytest.raises(ProviderTimeoutError):
            await gate.ask(of(ProviderTimeoutError))
    gate.clock.advance(10)
    with pytest.raises(ProviderQuotaError):
        await gate.ask()
    gate.clock.advance(60)
    assert await gate.ask() == "answer"
