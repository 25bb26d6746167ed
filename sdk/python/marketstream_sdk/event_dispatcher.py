"""Where events meet who wants them.

Consumers of one name share one subscription of the user's. Each gets an event once, whether it matched
several of its names, came over two connections, or was sent again; none waits for another.
"""

import asyncio
import logging
from collections.abc import Callable
from weakref import WeakKeyDictionary

from marketstream_sdk.consumer import Callback, CallbackConsumer, Consumer, ConsumerRegistry
from marketstream_sdk.errors import EventSubscriptionError, MarketDataError
from marketstream_sdk.event_model import EventFilter, Events, MarketEvent
from marketstream_sdk.listeners import Listeners
from marketstream_sdk.progress import Recent
from marketstream_sdk.reconcile import Terms

CONFLICT = "CONFLICT"

# All of them in order, and a bound on what waits.
_ALL = Terms("every")

_log = logging.getLogger("marketstream_sdk")


class EventDispatcher:
    """See the module.

    Args:
        changed: Called when what is wanted may have changed.
        errors: Told of subscriptions that are not to be had.

    Attributes:
        everybody: Told of events that go to everybody.
        losses: Told how many events were lost, here or at the server.
        errors: Those that were given.
        left: Names that nobody here wants any more, and of which the server has not been told.
    """

    def __init__(self, changed: Callable[[], None], errors: Listeners[[MarketDataError]]) -> None:
        self.everybody: Listeners[[MarketEvent]] = Listeners()
        self.losses: Listeners[[int]] = Listeners()
        self.errors = errors
        self.left: dict[str, None] = {}
        self._changed = changed
        self._registry: ConsumerRegistry[MarketEvent] = ConsumerRegistry(changed)
        self._filters: dict[str, EventFilter] = {}
        self._recent = Recent()
        self._had: WeakKeyDictionary[Consumer[MarketEvent], Recent] = WeakKeyDictionary()

    @property
    def callbacks(self) -> int:
        """How many callbacks there are."""
        return len(self._registry.callbacks)

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return len(self._registry.streams)

    @property
    def interested(self) -> bool:
        """Whether anybody here wants to hear of events."""
        return bool(self._registry.keys or len(self.everybody))

    def wanted(self) -> dict[str, EventFilter]:
        """Return subscriptions by name, in the order in which they came to be wanted."""
        return {name: self._filters[name] for name in self._registry.keys}

    def listen(self, listener: Callable[[MarketEvent], object]) -> Callable[[], None]:
        """Have a plain function told of events that go to everybody; return what takes it away again."""
        remove = self.everybody.add(listener)
        self._changed()

        def leave() -> None:
            remove()
            self._changed()

        return leave

    def consumer(self, callback: Callback[MarketEvent]) -> CallbackConsumer[MarketEvent]:
        """Return the consumer that calls a function; a new one if there is none."""
        return self._registry.find(callback) or CallbackConsumer(callback)

    def check(self, name: str, filter_: EventFilter) -> None:
        """Look whether a subscription can be had beside those that there are.

        Raises:
            EventSubscriptionError: The name is in use with another filter.
        """
        if name in self._registry and self._filters[name] != filter_:
            text = "is in use with another filter; unsubscribe first, or take another name"
            raise EventSubscriptionError(name, text, code=CONFLICT)

    def join(self, consumer: Consumer[MarketEvent], name: str, filter_: EventFilter) -> None:
        """Let a consumer want the events of a subscription, which `check` has let pass."""
        self._filters[name] = filter_
        self.left.pop(name, None)
        self._had.setdefault(consumer, Recent())
        self._registry.join(consumer, [name], _ALL)

    def leave(self, consumer: Consumer[MarketEvent], name: str) -> None:
        """Take a subscription away from a consumer; the last one to leave ends it."""
        if name in consumer.terms:
            # Before `leave` tells of the change: a name that is wanted is not left, whatever stands here.
            self.left[name] = None
            self._registry.leave(consumer, [name])
            self._forget()

    def leave_all(self, name: str, callback: Callback[MarketEvent] | None) -> None:
        """Take a subscription away from callbacks, or from one of them; without consumers it ends.

        With no callback given it ends also when it was made by another program of the same user.
        """
        for consumer in self._registry.callbacks:
            if callback is None or consumer.callback == callback:
                self.leave(consumer, name)
        if callback is None and name not in self._registry:
            self.left[name] = None
            self._changed()

    def receive(self, message: Events) -> None:
        """Take what the server sends; never wait, never raise."""
        lost = message.dropped + sum(map(self._deliver, message.events))
        if lost:
            self.losses.tell(lost)

    def refuse(self, error: EventSubscriptionError) -> None:
        """End the consumers of a refused subscription that have nothing left, and tell the error."""
        self.left.pop(error.name, None)
        self._registry.refuse(error.name, error)
        self._forget()
        _log.warning("the server refuses the events of %s", error)
        self.errors.tell(error)

    def fail(self, error: MarketDataError) -> None:
        """There is no connection any more: streams end with this, callbacks stay."""
        self._registry.end(self._registry.streams, error)
        self._forget()

    def clear(self) -> set[asyncio.Task[None]]:
        """End all consumers; return the tasks that are still calling callbacks.

        What the server holds stays there: it is the user's, and may be another program's as well.
        """
        callbacks = self._registry.callbacks
        tasks = {consumer.task for consumer in callbacks}
        self._registry.end([*callbacks, *self._registry.streams])
        self._forget()
        return tasks

    def _deliver(self, event: MarketEvent) -> int:
        """Give an event to who wants it; return how many others were pushed out for it."""
        if not event.matched and self._recent.add(event.id):
            self.everybody.tell(event)
        wanting = self._registry.who_want(event.matched or self._registry.keys)
        return sum(
            consumer.offer(name, event)
            for consumer, name in wanting.items()
            if self._had[consumer].add(event.id)
        )

    def _forget(self) -> None:
        """Only what is wanted has a filter, and is not left."""
        self._filters = {name: self._filters[name] for name in self._registry.keys}
        self.left = {name: None for name in self.left if name not in self._registry}
