"""A server in memory, on the far side of the transport's seam, and time that a test owns.

The stage does what a server promises: it confirms what it is told, refuses what it does not have, and says
what a test makes it say. Nothing of the client is replaced.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from marketstream_sdk import (
    ConnectionLostError,
    MarketDataClient,
    MarketDataError,
    MarketQuote,
    Quote,
    State,
    SubscriptionError,
)
from marketstream_sdk.event_model import EventFilter, Events, MarketEvent
from marketstream_sdk.link import Pace
from marketstream_sdk.reconcile import EventCall, Terms, reconcile
from marketstream_sdk.transports.base import Connection, Goal, Receive, Transport
from marketstream_sdk.wire import Message, Prices, Refused

TURNS = 50
LOST = ConnectionLostError("it broke")


async def turns() -> None:
    """Lets everything happen that needs no time."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Stage:
    """A server, and the transport to it.

    Attributes:
        obstacles: Why the next attempts fail, in order.
        refuses: Symbols and channels that are not to be had, and why.
        leaves: Symbols that are left without a word when a token is renewed.
        connections: All that were made.
        tokens: All that were shown to it, in order.
        gate: Calls are answered while it is set.
        held: The subscriptions to events of the user, which outlive connections.
        faults: Why the next calls about these fail, in order.
    """

    name = "stage"
    every = True
    channels = True

    def __init__(self) -> None:
        self.obstacles: deque[MarketDataError] = deque()
        self.refuses: dict[str, str] = {}
        self.leaves: set[str] = set()
        self.connections: list[StageConnection] = []
        self.tokens: list[str] = []
        self.held: dict[str, EventFilter | None] = {}
        self.faults: deque[MarketDataError] = deque()
        self.gate = asyncio.Event()
        self.gate.set()

    async def connect(self, token: str, goal: Callable[[], Goal], receive: Receive) -> Connection:  # noqa: ARG002 - as of the seam
        """See `Transport.connect`."""
        self.tokens.append(token)
        if self.obstacles:
            raise self.obstacles.popleft()
        self.connections.append(StageConnection(self, receive))
        return self.connections[-1]

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """Calls of the newest connection: their names, and the symbols or channels they name."""
        return self.connections[-1].calls

    def say(self, message: Message) -> None:
        """Sends a message over the newest connection."""
        self.connections[-1].receive(message)

    def price(self, *quotes: Quote) -> None:
        """Sends quotes, each by itself."""
        for quote in quotes:
            self.say(Prices((quote,)))

    def tell(self, *events: MarketEvent, dropped: int = 0) -> None:
        """Sends events, all together."""
        self.say(Events(events, dropped))

    def drop(self, error: MarketDataError = LOST) -> None:
        """Ends the newest connection."""
        self.connections[-1].lost.set_result(error)


class StageConnection:
    """One client's connection to the stage.

    Attributes:
        calls: Names of calls, and the symbols or channels they named.
        terms: How symbols were wanted last.
        event_calls: Calls about subscriptions to events: their names, and the names of these.
        expects_events: Whether events are to come.
        closed: Whether it was closed.
        renewed: Tokens that it was to go on with.
        refuses_renewal: Why it does not go on with the next ones.
    """

    def __init__(self, stage: Stage, receive: Receive) -> None:
        self.lost: asyncio.Future[MarketDataError] = asyncio.get_running_loop().create_future()
        self.calls: list[tuple[str, Any]] = []
        self.terms: dict[str, Terms] = {}
        self.event_calls: list[tuple[str, str]] = []
        self.expects_events = False
        self.closed = False
        self.renewed: list[str] = []
        self.refuses_renewal: deque[MarketDataError] = deque()
        self.receive = receive
        self._stage = stage
        self._channels: tuple[str, ...] = ()

    @property
    def confirmed(self) -> tuple[str, ...]:
        """See `Connection.confirmed`."""
        return tuple(self.terms)

    async def align(self, goal: Callable[[], Goal]) -> None:
        """See `Connection.align`."""
        while calls := reconcile((wanted := goal()).symbols, self.terms):
            call = calls[0]
            self.calls.append((call.event, call.symbols))
            await self._stage.gate.wait()
            for symbol in call.symbols:
                if call.terms is None:
                    del self.terms[symbol]
                elif reason := self._stage.refuses.get(symbol):
                    self.receive(Refused((SubscriptionError(symbol, reason),)))
                else:
                    self.terms[symbol] = call.terms
        self.expects_events = wanted.events
        if wanted.channels != self._channels:
            self._channels = wanted.channels
            self.calls.append(("channels", wanted.channels))
            for name in wanted.channels:
                if reason := self._stage.refuses.get(name):
                    self.receive(Refused((SubscriptionError(name, reason),)))

    async def renew(self, token: str) -> None:
        """See `Connection.renew`."""
        if self.refuses_renewal:
            raise self.refuses_renewal.popleft()
        self.renewed.append(token)
        for symbol in self._stage.leaves:
            del self.terms[symbol]

    async def get_quote(self, symbol: str) -> MarketQuote:
        """See `Connection.get_quote`."""
        raise SubscriptionError(symbol, "no quotes are played on this stage")

    async def event_subscriptions(self) -> dict[str, EventFilter | None]:
        """See `Connection.event_subscriptions`."""
        self.event_calls.append(("event_subscriptions", ""))
        await self._answer_about_events()
        return dict(self._stage.held)

    async def change_events(self, call: EventCall) -> None:
        """See `Connection.change_events`."""
        self.event_calls.append((call.event, call.name))
        await self._answer_about_events()
        if call.filter is None:
            self._stage.held.pop(call.name, None)
        else:
            self._stage.held[call.name] = call.filter

    async def _answer_about_events(self) -> None:
        await self._stage.gate.wait()
        if self._stage.faults:
            raise self._stage.faults.popleft()

    async def close(self) -> None:
        """See `Connection.close`."""
        self.closed = True


class Naps:
    """Time between attempts, which passes at once, or when a test says so.

    Attributes:
        taken: Seconds of each, in order.
        patient: Whether they last until `wake`.
    """

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.patient = False
        self._alarm = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Passes the time."""
        self.taken.append(seconds)
        if self.patient:
            self._alarm.clear()
            await self._alarm.wait()
        await asyncio.sleep(0)

    def wake(self) -> None:
        """Ends the present one."""
        self._alarm.set()


@dataclass
class Scene:
    """A client in front of a stage.

    Attributes:
        client: The client; not connected yet.
        stage: The server.
        naps: What it waited between attempts.
        states: Each state it said it was in.
        errors: Each error it told of.
    """

    client: MarketDataClient
    stage: Stage
    naps: Naps
    states: list[State]
    errors: list[MarketDataError]


@asynccontextmanager
async def scene(*, connected: bool = True, token: Any = "t", **options: Any) -> AsyncIterator[Scene]:  # noqa: S107 - test data
    """A client and a stage; at the end the client is closed, and no task may be left."""
    stage, naps = Stage(), Naps()
    pace = Pace(sleep=naps.sleep, chance=lambda: 0.0)
    client = MarketDataClient("http://stage", token=token, transport=stage, pace=pace, **options)
    playing = Scene(client, stage, naps, [], [])
    client.on_state(lambda state, _error: playing.states.append(state))
    client.on_error(playing.errors.append)
    before = asyncio.all_tasks()
    try:
        if connected:
            await client.connect()
        yield playing
    finally:
        with suppress(asyncio.CancelledError):
            await client.close()
        await turns()
        assert asyncio.all_tasks() <= before
        assert all(connection.closed for connection in stage.connections)


_: type[Transport] = Stage
__: type[Connection] = StageConnection
