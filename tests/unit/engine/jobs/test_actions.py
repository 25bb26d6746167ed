"""What each job does to the cache and tells the listeners of channels."""

from collections.abc import Sequence
from typing import Any

import pytest

from marketstream.bus.memory import MemoryBus
from marketstream.core.delivery.frame import Frame
from marketstream.engine.jobs.actions import MOST, JobActions
from marketstream.engine.market.interest import Interest
from marketstream.engine.query.overview import Overview
from marketstream.errors import AllProvidersFailedError
from marketstream.transports.rest.views import show
from marketstream.wire.json import loads
from tests.support.providers import Reader, down, unknown

POPULAR = ("AAPL", "MSFT")


class World:
    """Job actions over one provider.

    Attributes:
        told: Event and data of every update.
    """

    def __init__(self, popular: Sequence[str] = POPULAR) -> None:
        self.reader = Reader("yahoo")
        self.interest = Interest(clock=self.reader.clock)
        self.told: list[tuple[str, dict[str, Any]]] = []
        bus = MemoryBus(clock=self.reader.clock)
        bus.attach(self._told)
        self.overview = Overview(
            queries=self.reader.service,
            clock=self.reader.clock,
            popular=popular,
            indices=[("^GSPC", "S&P 500")],
            sectors=[("XLK", "Technology")],
        )
        self.actions = JobActions(
            queries=self.reader.service,
            overview=self.overview,
            interest=self.interest,
            bus=bus,
            clock=self.reader.clock,
            popular=popular,
            show=show,
            clean_up=[self.reader.cache.expire],
        )

    def _told(self, frames: Sequence[Frame]) -> None:
        self.told += [(frame.event, loads(frame.body)) for frame in frames]

    @property
    def asked(self) -> list[str]:
        """What the provider was asked."""
        return self.reader["yahoo"].asked


@pytest.fixture
async def world() -> World:
    """Two popular symbols."""
    return World()


async def test_quotes_are_renewed_before_they_are_over(world: World) -> None:
    """The job comes each minute and a quote is good for one: every other run would be in vain."""
    world.interest.watch("EUR/USD")
    world.interest.watch("AAPL")
    await world.actions.quotes()
    assert sorted(world.asked) == ["quote AAPL", "quote EUR/USD", "quote MSFT"]
    await world.actions.quotes()
    assert len(world.asked) == 6
    await world.reader.service.quote("MSFT")
    assert len(world.asked) == 6


async def test_what_nobody_knows_is_left_alone_for_an_hour(world: World) -> None:
    world.reader.script("yahoo", unknown())
    await world.actions.quotes()
    assert len(world.asked) == 2
    world.reader.clock.advance(3_599)
    await world.actions.quotes()
    assert len(world.asked) == 2
    world.reader.clock.advance(1)
    await world.actions.quotes()
    assert len(world.asked) == 4


async def test_there_is_an_end_to_what_is_kept_fresh() -> None:
    world = World()
    for number in range(MOST):
        world.interest.watch(f"S{number}")
    await world.actions.quotes()
    assert len(world.asked) == MOST
    assert {"quote AAPL", "quote MSFT"} <= set(world.asked)


async def test_a_job_without_one_answer_has_failed(world: World) -> None:
    world.reader.script("yahoo", down("yahoo"))
    with pytest.raises(AllProvidersFailedError):
        await world.actions.quotes()


async def test_listeners_are_told_what_the_endpoints_answer(world: World) -> None:
    for action in (
        world.actions.indices,
        world.actions.sectors,
        world.actions.movers,
        world.actions.sentiment,
    ):
        await action()
    told = {data["channel"]: (name, data) for name, data in world.told}
    assert {channel: name for channel, (name, _) in told.items()} == {
        "indices": "market_update",
        "sectors": "sector_update",
        "movers": "market_update",
        "sentiment": "sentiment_update",
    }
    (index,) = told["indices"][1]["data"]["indices"]
    assert (index["name"], index["symbol"], index["changePercent"]) == ("S&P 500", "^GSPC", 1.0101)
    assert told["sectors"][1]["data"]["sectors"][0]["name"] == "Technology"
    movers = told["movers"][1]["data"]
    assert [row["symbol"] for row in movers["gainers"]] == ["AAPL", "MSFT"]
    assert (movers["losers"], len(movers["active"])) == ([], 2)
    assert told["sentiment"][1]["data"]["advancers"] == 2
    assert told["indices"][1]["timestamp"] == world.reader.clock.wall_ms()


async def test_a_view_is_worked_out_anew_though_it_is_remembered(world: World) -> None:
    await world.overview.indices()
    world.reader.clock.advance(100)
    await world.actions.indices()
    found = await world.overview.indices()
    assert found.at_ms == world.reader.clock.wall_ms()
    assert len(world.asked) == 2


async def test_what_is_asked_of_popular_symbols_is_at_hand_afterwards(world: World) -> None:
    await world.actions.warm_cache()
    assert len(world.asked) == 6
    await world.reader.service.quote("AAPL")
    await world.reader.service.profile("MSFT")
    await world.reader.service.historical("AAPL", "1y", "1d")
    assert len(world.asked) == 6


async def test_cleaning_up_lets_go_of_what_is_over(world: World) -> None:
    forgotten: list[str] = []
    world.actions.also_clean(lambda: forgotten.append("runs"))
    await world.reader.cache.put([("short", b"1", 10.0), ("long", b"2", 100.0)])
    world.reader.clock.advance(50)
    await world.actions.clean_up()
    assert (world.reader.cache.size, forgotten) == (1, ["runs"])


async def test_the_jobs_are_those_that_were_promised(world: World) -> None:
    assert {job.name: str(job.schedule) for job in world.actions.jobs()} == {
        "quotes": "every 60 s",
        "indices": "every 120 s",
        "sectors": "every 300 s",
        "movers": "every 300 s",
        "sentiment": "every 300 s",
        "warm_cache": "every 21600 s",
        "clean_up": "daily at 02:00 UTC",
    }
