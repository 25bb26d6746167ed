"""All consumers of one client, and what they want together.

Consumers are counted per key: the first one of a symbol makes it wanted, the last one to leave ends that,
and none of the others notices either.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from marketstream_sdk.consumer import Callback, CallbackConsumer, Consumer
from marketstream_sdk.reconcile import Terms, joined

T = TypeVar("T")


class ConsumerRegistry(Generic[T]):
    """Who wants which keys.

    Args:
        changed: Called when what is wanted may have changed.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._consumers: list[Consumer[T]] = []
        self._by_key: dict[str, list[Consumer[T]]] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    @property
    def callbacks(self) -> list[CallbackConsumer[T]]:
        """Those of them that call a function."""
        return [consumer for consumer in self._consumers if isinstance(consumer, CallbackConsumer)]

    @property
    def streams(self) -> list[Consumer[T]]:
        """Those of them that somebody iterates over."""
        return [consumer for consumer in self._consumers if not isinstance(consumer, CallbackConsumer)]

    @property
    def keys(self) -> tuple[str, ...]:
        """What they want, in the order in which it came to be wanted."""
        return tuple(self._by_key)

    def wanted(self) -> dict[str, Terms]:
        """What they want together, in the order in which keys came to be wanted."""
        return joined(
            (key, consumer.terms[key]) for key, consumers in self._by_key.items() for consumer in consumers
        )

    def find(self, callback: Callback[T]) -> CallbackConsumer[T] | None:
        """The consumer that calls a function, if there is one."""
        return next((each for each in self.callbacks if each.callback == callback), None)

    def join(self, consumer: Consumer[T], keys: Iterable[str], terms: Terms) -> None:
        """Lets a consumer want keys, from now on under these terms."""
        if consumer not in self._consumers:
            self._consumers.append(consumer)
        for key in keys:
            if key not in consumer.terms:
                self._by_key.setdefault(key, []).append(consumer)
            consumer.terms[key] = terms
        self._changed()

    def leave(self, consumer: Consumer[T], keys: Iterable[str] | None = None) -> None:
        """Takes keys away from a consumer, or all of them; without any left it is no consumer any more."""
        if consumer not in self._consumers:
            return
        for key in list(consumer.terms if keys is None else keys):
            if key in consumer.terms:
                self._unlink(key, consumer)
        if not consumer.terms:
            self._consumers.remove(consumer)
            consumer.end()
        self._changed()

    def refuse(self, key: str, error: Exception) -> bool:
        """Takes a key that is not to be had away from all; those who have nothing left end with the error.

        Returns:
            Whether anybody wanted it.
        """
        consumers = list(self._by_key.get(key, ()))
        for consumer in consumers:
            self._unlink(key, consumer)
            if not consumer.terms:
                self._consumers.remove(consumer)
                consumer.end(None if isinstance(consumer, CallbackConsumer) else error)
        self._changed()
        return bool(consumers)

    def who_want(self, keys: Iterable[str]) -> dict[Consumer[T], str]:
        """Who wants any of some keys, each once, with one of these that it wants."""
        return {consumer: key for key in keys for consumer in self._by_key.get(key, ())}

    def deliver(self, key: str, value: T) -> int:
        """Gives a value to all who want it; never waits.

        Returns:
            How many values of mode `every` were pushed out of queues.
        """
        return sum(consumer.offer(key, value) for consumer in self._by_key.get(key, ()))

    def end(self, consumers: Iterable[Consumer[T]], error: Exception | None = None) -> None:
        """Ends some consumers, with an error if there is one."""
        for consumer in consumers:
            for key in list(consumer.terms):
                self._unlink(key, consumer)
            self._consumers.remove(consumer)
            consumer.end(error)
        self._changed()

    def _unlink(self, key: str, consumer: Consumer[T]) -> None:
        consumer.drop(key)
        members = self._by_key[key]
        members.remove(consumer)
        if not members:
            del self._by_key[key]
