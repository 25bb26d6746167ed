"""Load and save the event subscriptions of the users connected here.

A user's subscriptions are read when the first connection comes, and again when any process has changed them;
users who come together are read together. What is read counts only if nothing has changed since it was asked
for; otherwise it is asked for again. While subscriptions cannot be read nothing new is known of them, which
is tried again; while they cannot be written a change is refused, and nothing has changed here.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from itertools import count, islice

import structlog

from marketstream.core.events.event import User
from marketstream.core.events.filter import MAX_NAMES, Filter
from marketstream.core.events.router import Router
from marketstream.engine.events.ports import EventStore
from marketstream.errors import BusError, InvalidMessageError, SubscriptionLimitError
from marketstream.wire.events import codec as wire
from marketstream.wire.json import dumps, loads

log = structlog.get_logger(__name__)

TOGETHER = 0.01
"""Seconds in which users come together."""

AGAIN = 1.0
"""Seconds until what could not be read is tried again."""

PAGE = 100
"""Users that are read in one go; others get their turn in between."""

Spawn = Callable[[Coroutine[None, None, None]], object]


class SubscriptionStore:
    """See the module.

    Args:
        store: Where subscriptions are kept.
        router: Who is told of them.
        spawn: Starts a task.
    """

    def __init__(self, *, store: EventStore, router: Router, spawn: Spawn) -> None:
        self._store = store
        self._router = router
        self._spawn = spawn
        self._present: set[User] = set()
        # By a number that rises with every reason to read: an answer to an earlier question does not count.
        self._unread: dict[User, int] = {}
        self._reasons = count()
        self._reading = False
        self._failed = False

    @property
    def unread(self) -> int:
        """Users whose subscriptions are not known yet, or not as they are now."""
        return len(self._unread)

    @property
    def fails(self) -> bool:
        """Whether the last attempt to read failed."""
        return self._failed

    def open(self, user: User) -> None:
        """Begin to follow what a user wants."""
        self._present.add(user)
        self._look(user)

    def close(self, user: User) -> None:
        """End it: the user has no connection here any more."""
        self._present.discard(user)
        self._unread.pop(user, None)

    def changed(self, user: User) -> None:
        """Note that some process has changed what a user wants."""
        if user in self._present:
            self._look(user)

    def everything_changed(self) -> None:
        """Note that changes may have been missed."""
        for user in self._present:
            self._look(user)

    async def subscribe(self, user: User, name: str, filter_: Filter) -> None:
        """Keep a subscription, in place of one of the same name; it counts here at once.

        Raises:
            SubscriptionLimitError: The user has as many as may be.
            BusError: It could not be written, or may not have been.
        """
        if not await self._store.put(user, name, dumps(wire.render_filter(filter_)), MAX_NAMES):
            raise SubscriptionLimitError(f"{name}: at most {MAX_NAMES} event subscriptions")
        if user in self._present:
            self._router.subscribe(user, name, filter_)
            self._read_again(user)

    async def unsubscribe(self, user: User, name: str) -> bool:
        """Let a subscription go.

        Returns:
            Whether there was one.

        Raises:
            BusError: It could not be written, or may not have been.
        """
        found = await self._store.remove(user, name)
        self._router.unsubscribe(user, name)
        self._read_again(user)
        return found

    async def list(self, user: User) -> Mapping[str, Filter]:
        """Return the subscriptions of a user by name, in order.

        Raises:
            BusError: They could not be read.
        """
        (found,) = await self._store.load([user])
        return dict(sorted(_read(user, found).items()))

    def _read_again(self, user: User) -> None:
        """Note a change made here: what is being read may be older."""
        if user in self._unread:
            self._look(user)

    def _look(self, user: User) -> None:
        self._unread[user] = next(self._reasons)
        if not self._reading:
            self._reading = True
            self._spawn(self._read_all())

    async def _read_all(self) -> None:
        try:
            while self._unread:
                await asyncio.sleep(TOGETHER if len(self._unread) <= PAGE else 0)
                asked = dict(islice(self._unread.items(), PAGE))
                try:
                    kept = await self._store.load(list(asked))
                except BusError as error:
                    self._note_failure(error)
                    await asyncio.sleep(AGAIN)
                    continue
                self._failed = False
                for user, found in zip(asked, kept, strict=True):
                    if self._unread.get(user) == asked[user]:
                        del self._unread[user]
                        self._apply(user, _read(user, found))
        finally:
            self._reading = False

    def _note_failure(self, error: BusError) -> None:
        if not self._failed:
            self._failed = True
            log.warning("event_subscriptions_unread", users=len(self._unread), error=str(error))

    def _apply(self, user: User, wanted: Mapping[str, Filter]) -> None:
        for name in set(self._router.held(user)) - wanted.keys():
            self._router.unsubscribe(user, name)
        for name, filter_ in wanted.items():
            self._router.subscribe(user, name, filter_)


def _read(user: User, kept: Mapping[str, bytes]) -> dict[str, Filter]:
    """Decode stored filters; log and skip those that make no sense any more."""
    found = {}
    for name, body in kept.items():
        try:
            found[name] = wire.parse_filter(loads(body))
        except InvalidMessageError as error:
            log.warning("event_subscription_unreadable", tenant=user[0], name=name, error=str(error))
    return found
