"""Run feeds, restart those that fail, and keep their state.

A feed that fails is started again after 2, 4, 8, 16, then every 32 seconds, or later where it says so; the
count starts over once it has run for a minute. A `FeedError` is the feed's own word that trying again is of
no use.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from marketstream.core.backoff import Backoff
from marketstream.engine.market.aggregator import Aggregator, CaughtUp, FeedSink
from marketstream.engine.market.interest import Interest
from marketstream.errors import FeedError, FeedLostError
from marketstream.ports import Clock, Feed, Streaming, StreamStatus

log = structlog.get_logger(__name__)

FeedState = Literal["standby", "starting", "live", "retrying", "ended", "failed"]


@dataclass(slots=True)
class FeedHealth:
    """How a feed is.

    Attributes:
        state: standby (another process runs it), starting (not heard of yet), live, retrying (it broke and
            will be started again), ended (it came to its regular end), failed (it broke for good).
        detail: Why, where there is a why.
        restarts: How often it was started again.
        status: Says how its connection to a vendor is; None: it has none.
    """

    state: FeedState = "standby"
    detail: str = ""
    restarts: int = 0
    status: Callable[[], StreamStatus] | None = None


class Supervisor:
    """Runs feeds.

    Args:
        aggregator: Where quotes meet.
        interest: The symbols that somebody watches, as feeds are told.
        caught_up: Waits until clients have been sent what was offered, for feeds that can wait.
        clock: Time.
        sleep: Waits that many seconds.

    Attributes:
        feeds: Health by the name of the feed.
    """

    def __init__(
        self,
        *,
        aggregator: Aggregator,
        interest: Interest,
        caught_up: CaughtUp,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.feeds: dict[str, FeedHealth] = {}
        self._aggregator = aggregator
        self._interest = interest
        self._caught_up = caught_up
        self._clock = clock
        self._sleep = sleep

    def register(self, feed: Feed) -> str:
        """Note a feed that will be run.

        Returns:
            A name for it that no other feed has.
        """
        name, number = feed.name, 1
        while name in self.feeds:
            number += 1
            name = f"{feed.name}-{number}"
        self.feeds[name] = FeedHealth()
        return name

    async def run(self, feed: Feed, name: str) -> None:
        """Run a registered feed until it ends, fail for good, or the task is cancelled."""
        health = self.feeds[name]
        sink = FeedSink(
            name=name,
            stale_after=feed.stale_after,
            aggregator=self._aggregator,
            interest=self._interest,
            caught_up=self._caught_up,
            on_quotes=lambda: self._alive(name, health),
        )
        health.status = feed.status if isinstance(feed, Streaming) else None
        self._change(name, health, "starting", "")
        backoff = Backoff()
        while True:
            started, least = self._clock.now(), 0.0
            try:
                await feed.run(sink)
            except FeedError as error:
                self._change(name, health, "failed", str(error))
                return
            except FeedLostError as error:
                least = error.wait
                self._change(name, health, "retrying", str(error))
            except Exception as error:  # noqa: BLE001  # whatever a vendor's library raises, the feed must come back
                self._change(name, health, "retrying", repr(error))
            else:
                self._aggregator.finish(name)
                self._change(name, health, "ended", "")
                return
            health.restarts += 1
            pause = backoff.next(self._clock.now() - started, random.random())  # noqa: S311  # jitter
            await self._sleep(max(pause, least))

    def stand_by(self) -> None:
        """Note that it is another process that runs the feeds now."""
        for name, health in self.feeds.items():
            health.status = None
            self._change(name, health, "standby", "")

    def _alive(self, name: str, health: FeedHealth) -> None:
        if health.state != "live":
            self._change(name, health, "live", "")

    @staticmethod
    def _change(name: str, health: FeedHealth, state: FeedState, detail: str) -> None:
        health.state, health.detail = state, detail
        write = log.error if state == "failed" else log.warning if state == "retrying" else log.info
        write("feed_state_changed", feed=name, state=state, detail=detail)
