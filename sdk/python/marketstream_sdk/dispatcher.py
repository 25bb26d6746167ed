"""Hand what the server sends to the consumers that want it.

A dispatcher knows consumers and listeners, and no connection. It drops what is no news, hands out the rest
without waiting, and tells what the server should be sending.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from marketstream_sdk.consumer import Consumer, ConsumerRegistry
from marketstream_sdk.errors import MarketDataError, RequestError, SubscriptionError
from marketstream_sdk.event_dispatcher import EventDispatcher
from marketstream_sdk.event_model import Events
from marketstream_sdk.listeners import Listeners
from marketstream_sdk.model import ChannelUpdate, Lagged, Quote, State, SymbolStatus
from marketstream_sdk.progress import Delivery
from marketstream_sdk.reconcile import Terms
from marketstream_sdk.transports.base import Goal
from marketstream_sdk.wire import REFUSALS, Fault, Message, Prices, Refused, TokenExpiring

_log = logging.getLogger("marketstream_sdk")


class Dispatcher:
    """See the module.

    Args:
        changed: Called when what is wanted may have changed.
        expiring: Called when the token ends soon.
        events_changed: Called when that may have changed of events.

    Attributes:
        quotes: Who wants quotes of which symbols.
        updates: Who wants updates of which channels.
        events: Who wants which events.
        states: Told of each state of the client.
        errors: Told of what went wrong outside of a call.
        statuses: Told how far prices can be trusted.
        lags: Told of values that were lost.
    """

    def __init__(
        self, changed: Callable[[], None], expiring: Callable[[], None], events_changed: Callable[[], None]
    ) -> None:
        self.quotes: ConsumerRegistry[Quote] = ConsumerRegistry(changed)
        self.updates: ConsumerRegistry[ChannelUpdate] = ConsumerRegistry(changed)
        self.states: Listeners[[State, MarketDataError | None]] = Listeners()
        self.errors: Listeners[[MarketDataError]] = Listeners()
        self.statuses: Listeners[[SymbolStatus]] = Listeners()
        self.lags: Listeners[[Lagged]] = Listeners()
        self.events = EventDispatcher(events_changed, self.errors)
        self._expiring = expiring
        self._delivery = Delivery()

    def goal(self) -> Goal:
        """Return what the server should be sending."""
        return Goal(self.quotes.wanted(), tuple(self.updates.wanted()), self.events.interested)

    def settled(self) -> None:
        """Forget quotes that nobody wants: from now on the server sends nothing else."""
        self._delivery.retain(self.quotes)

    def join(self, consumer: Consumer[Quote], symbols: Sequence[str], terms: Terms) -> None:
        """Let a consumer want symbols; it begins with the last known quotes, as others have them."""
        new = [symbol for symbol in symbols if symbol not in consumer.terms]
        self.quotes.join(consumer, symbols, terms)
        for symbol in new:
            if (last := self._delivery.last(symbol)) is not None:
                consumer.offer(symbol, last)

    def receive(self, message: Message) -> None:
        """Take a message of the server; never wait, never raise."""
        match message:
            case Prices(quotes):
                self._deliver(quotes)
            case ChannelUpdate():
                self.updates.deliver(message.channel, message)
            case SymbolStatus():
                self.statuses.tell(message)
            case Lagged():
                self.lags.tell(message)
            case Events():
                self.events.receive(message)
            case TokenExpiring():
                self._expiring()
            case Refused(errors):
                self._refuse(errors)
            # That of a token ends the connection, and is told with it.
            case Fault(code, text) if code not in REFUSALS:
                self.errors.tell(RequestError(text, code=code))

    @contextmanager
    def refusals(self) -> Iterator[Mapping[str, SubscriptionError]]:
        """Gather what is refused during the block, by symbol or channel."""
        refused: dict[str, SubscriptionError] = {}

        def gather(error: MarketDataError) -> None:
            if isinstance(error, SubscriptionError):
                refused[error.symbol] = error

        remove = self.errors.add(gather)
        try:
            yield refused
        finally:
            remove()

    def fail(self, error: MarketDataError) -> None:
        """There is no connection any more: streams end with this, callbacks stay for another `connect`."""
        self.quotes.end(self.quotes.streams, error)
        self.events.fail(error)
        self.errors.tell(error)

    def clear(self) -> set[asyncio.Task[None]]:
        """End all consumers and forget all quotes; return the tasks that are still calling callbacks."""
        tasks = {consumer.task for consumer in self.quotes.callbacks}
        tasks |= {consumer.task for consumer in self.updates.callbacks}
        self.quotes.end([*self.quotes.callbacks, *self.quotes.streams])
        self.updates.end(self.updates.callbacks)
        self._delivery = Delivery()
        return tasks | self.events.clear()

    def _deliver(self, quotes: Iterable[Quote]) -> None:
        for quote in quotes:
            symbol = quote.symbol
            if symbol in self.quotes and self._delivery.accept(quote):
                missed = self.quotes.deliver(symbol, quote)
                if missed:
                    self.lags.tell(Lagged(symbol, missed))

    def _refuse(self, errors: Iterable[SubscriptionError]) -> None:
        for error in errors:
            if self.quotes.refuse(error.symbol, error) or self.updates.refuse(error.symbol, error):
                _log.warning("the server refuses %s", error)
                self.errors.tell(error)


def taken(names: Sequence[str], refused: Mapping[str, SubscriptionError]) -> tuple[str, ...]:
    """Return those of the names that were not refused.

    Raises:
        SubscriptionError: All of them were; this is the first.
    """
    left = tuple(name for name in names if name not in refused)
    if not left:
        raise refused[names[0]]
    return left
