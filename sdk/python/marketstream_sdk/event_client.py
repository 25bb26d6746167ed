"""The parts of a client beside quotes: what listeners are told, and events.

A subscription to events has a name and a filter and belongs to the user: the server keeps it, and sends what
matches to every connection of the user. Here consumers share it by its name. It is made again where a server
has forgotten it, and ends when the last consumer leaves; `close` leaves it with the server.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from marketstream_sdk.consumer import Callback, Consumer
from marketstream_sdk.dispatcher import Dispatcher
from marketstream_sdk.errors import EventSubscriptionError, MarketDataError, NotConnectedError
from marketstream_sdk.event_model import EventFilter, MarketEvent, Priority, Tier
from marketstream_sdk.lifecycle import Lifecycle
from marketstream_sdk.model import Lagged, State, SymbolStatus
from marketstream_sdk.stream import EventStream

Remove = Callable[[], None]
"""Takes a listener away again."""


class Listening:
    """The part of a client that plain functions listen to.

    Args:
        dispatcher: Where things are told.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def on_state(self, listener: Callable[[State, MarketDataError | None], object]) -> Remove:
        """Has a plain function told of each new state and, where there is one, the error that led to it.

        Returns:
            What takes it away again; likewise for the listeners below.
        """
        return self._dispatcher.states.add(listener)

    def on_error(self, listener: Callable[[MarketDataError], object]) -> Remove:
        """Has a plain function told of what is not to be had, what the server complains of, and giving up."""
        return self._dispatcher.errors.add(listener)

    def on_status(self, listener: Callable[[SymbolStatus], object]) -> Remove:
        """Has a plain function told how far the price of each symbol can be trusted, when that changes."""
        return self._dispatcher.statuses.add(listener)

    def on_lagged(self, listener: Callable[[Lagged], object]) -> Remove:
        """Has a plain function told of values of mode `every` that were lost, here or at the server."""
        return self._dispatcher.lags.add(listener)


class EventClient(Listening):
    """See the module; a `MarketDataClient` is one."""

    _life: Lifecycle

    async def subscribe_events(
        self,
        name: str,
        callback: Callback[MarketEvent],
        *,
        types: str | Iterable[str] | None = None,
        names: str | Iterable[str] | None = None,
        symbols: str | Iterable[str] | None = None,
        tiers: Tier | Iterable[Tier] | None = None,
        min_confidence: float | None = None,
        min_priority: Priority | None = None,
    ) -> None:
        """Have a function called with each event that meets all conditions; those left out may be anything.

        Events come in order, each once, also when several subscriptions of the function match it. While there
        is no connection, or the server cannot keep subscriptions, this returns, and is made good later.

        Args:
            name: Of the subscription, up to 64 characters; several functions may share it.
            callback: The function; may be asynchronous, and is then waited for before its next call.
            types: Types of which an event must have one; several, or a single one, as below.
            names: Names of which it must have one.
            symbols: Symbols of which it must have one.
            tiers: Tiers of which it must have one: `daily`, `intraday`, `combo`.
            min_confidence: Least confidence, from 0 to 1.
            min_priority: Least priority: `LOW`, `MEDIUM`, `HIGH`, `CRITICAL`.

        Raises:
            ValueError: A condition is impossible.
            EventSubscriptionError: The server refuses the subscription, or the name is in use here with
                another filter.
        """
        filter_ = EventFilter(types, names, symbols, tiers, min_confidence, min_priority)
        self._dispatcher.events.check(name, filter_)
        with self._refusals(name):
            self._dispatcher.events.join(self._dispatcher.events.consumer(callback), name, filter_)
            await self._life.settle_events()

    async def unsubscribe_events(self, name: str, callback: Callback[MarketEvent] | None = None) -> None:
        """End the calls for a subscription; streams are not touched. The last consumer to leave ends it.

        Args:
            name: Of the subscription; without a callback it may also be one that another program has made.
            callback: The only one to silence; None for all of them.

        Raises:
            EventSubscriptionError: The server refuses that.
        """
        with self._refusals(name):
            self._dispatcher.events.leave_all(name, callback)
            await self._life.settle_events()

    def stream_events(
        self,
        name: str,
        *,
        types: str | Iterable[str] | None = None,
        names: str | Iterable[str] | None = None,
        symbols: str | Iterable[str] | None = None,
        tiers: Tier | Iterable[Tier] | None = None,
        min_confidence: float | None = None,
        min_priority: Priority | None = None,
    ) -> EventStream:
        """Return events as they come: `async for event in client.stream_events("mine", types="pattern")`.

        Arguments and errors are those of `subscribe_events`; what the server refuses the stream raises.
        """
        filter_ = EventFilter(types, names, symbols, tiers, min_confidence, min_priority)
        dispatcher, life = self._dispatcher.events, self._life
        dispatcher.check(name, filter_)
        consumer: Consumer[MarketEvent] = Consumer()
        stream = EventStream(consumer, partial(dispatcher.leave, consumer, name), life.settle_events, name)
        if life.state in {"closed", "failed"}:
            consumer.end(life.error or NotConnectedError("the client is closed"))
        else:
            dispatcher.join(consumer, name, filter_)
        return stream

    def on_event(self, listener: Callable[[MarketEvent], object]) -> Remove:
        """Have a plain function told of events that the server sends to everybody, such as a market's halt.

        They need no subscription; every callback and every stream of events gets them too.
        """
        return self._dispatcher.events.listen(listener)

    def on_events_dropped(self, listener: Callable[[int], object]) -> Remove:
        """Have a plain function told how many events were lost, here or at the server, for want of room."""
        return self._dispatcher.events.losses.add(listener)

    @contextmanager
    def _refusals(self, name: str) -> Iterator[None]:
        """Raise what is refused of a subscription during the block."""
        refused: list[EventSubscriptionError] = []

        def gather(error: MarketDataError) -> None:
            if isinstance(error, EventSubscriptionError) and error.name == name:
                refused.append(error)

        remove = self._dispatcher.errors.add(gather)
        try:
            yield
        finally:
            remove()
        if refused:
            raise refused[-1]
