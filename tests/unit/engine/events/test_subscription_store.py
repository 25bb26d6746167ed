"""What users want to hear of, as one process knows it: read late, changed meanwhile, or not to be had."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from marketstream.core.delivery.closing import CLIENT_LEFT
from marketstream.core.delivery.commands import SubscribeEvents, UnsubscribeEvents
from marketstream.core.events.event import User
from marketstream.core.events.filter import MAX_NAMES, Filter
from marketstream.engine.events.health import Health
from marketstream.engine.events.ports import EventStore
from marketstream.errors import BusError, SubscriptionLimitError, UnavailableError
from marketstream.wire.events.between_processes import render_user
from tests.support.builders import principal
from tests.support.event_bench import EventBench
from tests.support.eventually import eventually


@pytest.fixture
async def bench() -> Any:
    """Event streams that nobody uses yet."""
    made = EventBench()
    yield made
    made.close()


@pytest.fixture
def benches() -> Iterator[list[EventBench]]:
    """Benches that a test makes itself, closed behind it."""
    made: list[EventBench] = []
    yield made
    for each in made:
        each.close()


class SlowStore:
    """A store whose answers a test holds back: reads see what was kept when they were asked.

    Attributes:
        failing: Whether it cannot be reached.
        loads: Reads that wait: users, and the answer.
    """

    def __init__(self) -> None:
        self.kept: dict[User, dict[str, bytes]] = {}
        self.failing = False
        self.loads: list[tuple[list[User], asyncio.Future[None]]] = []

    async def load(self, users: Sequence[User]) -> list[dict[str, bytes]]:
        """Tells later what is kept now."""
        if self.failing:
            raise BusError("gone")
        found = [dict(self.kept.get(user, {})) for user in users]
        answered = asyncio.get_running_loop().create_future()
        self.loads.append((list(users), answered))
        await answered
        return found

    async def put(self, user: User, name: str, body: bytes, limit: int) -> bool:
        """Keeps at once."""
        if self.failing:
            raise BusError("gone")
        self.kept.setdefault(user, {})[name] = body
        return len(self.kept[user]) <= limit

    async def remove(self, user: User, name: str) -> bool:
        """Lets go at once."""
        return self.kept.get(user, {}).pop(name, None) is not None

    async def answer(self) -> None:
        """Lets one read be answered."""
        await eventually(lambda: self.loads, what="a read")
        _, waiting = self.loads.pop(0)
        waiting.set_result(None)


_: type[EventStore] = SlowStore


@pytest.fixture
async def slow(benches: list[EventBench]) -> tuple[EventBench, SlowStore]:
    """Event streams over a store that answers when it is told to."""
    store = SlowStore()
    bench = EventBench(store=store)
    benches.append(bench)
    return bench, store


def names(bench: EventBench, user: User = ("acme", "u1")) -> list[str]:
    return sorted(bench.streams.router.held(user))


async def test_a_change_while_subscriptions_are_read_is_not_undone_by_what_was_read(
    slow: tuple[EventBench, SlowStore],
) -> None:
    bench, store = slow
    store.kept["acme", "u1"] = {"old": b"{}", "gone": b"{}"}
    client = bench.client()
    await eventually(lambda: store.loads, what="the first read")
    session = client.connection.session
    assert session is not None
    for command in (SubscribeEvents("new", Filter()), UnsubscribeEvents("gone")):
        await bench.streams.execute(session.principal, command)
    assert names(bench) == ["new"]
    await store.answer()
    await eventually(lambda: store.loads, what="a second read")
    assert names(bench) == ["new"]
    await store.answer()
    await bench.until_read()
    assert names(bench) == ["new", "old"]


async def test_a_change_elsewhere_while_subscriptions_are_read_is_read_again(
    slow: tuple[EventBench, SlowStore],
) -> None:
    bench, store = slow
    bench.client()
    await eventually(lambda: store.loads, what="the first read")
    store.kept["acme", "u1"] = {"elsewhere": b"{}"}
    bench.news.send(render_user(("acme", "u1")))
    await store.answer()
    await store.answer()
    await bench.until_read()
    assert names(bench) == ["elsewhere"]


async def test_a_user_who_comes_back_while_subscriptions_are_read_gets_the_newer_ones(
    slow: tuple[EventBench, SlowStore],
) -> None:
    bench, store = slow
    store.kept["acme", "u1"] = {"old": b"{}"}
    first = bench.client()
    await eventually(lambda: store.loads, what="the first read")
    bench.node.leave(first.connection, CLIENT_LEFT)
    assert bench.streams.unread == 0
    store.kept["acme", "u1"] = {"newer": b"{}"}
    bench.client()
    await store.answer()
    await store.answer()
    await bench.until_read()
    assert names(bench) == ["newer"]


async def test_who_left_before_subscriptions_were_read_leaves_nothing_behind(
    slow: tuple[EventBench, SlowStore],
) -> None:
    bench, store = slow
    store.kept["acme", "u1"] = {"old": b"{}"}
    client = bench.client()
    await eventually(lambda: store.loads, what="the first read")
    bench.node.leave(client.connection, CLIENT_LEFT)
    await store.answer()
    await asyncio.sleep(0)
    assert (names(bench), bench.streams.router.subscriptions) == ([], 0)


async def test_users_who_come_together_are_read_together_a_page_at_a_time(
    slow: tuple[EventBench, SlowStore],
) -> None:
    bench, store = slow
    for number in range(250):
        bench.client(principal(f"u{number}"))
    sizes = []
    while bench.streams.unread:
        await eventually(lambda: store.loads, what="a read")
        sizes.append(len(store.loads[0][0]))
        await store.answer()
        await asyncio.sleep(0)
    assert sizes == [100, 100, 50]


async def test_while_subscriptions_cannot_be_written_a_change_is_refused_and_nothing_has_changed(
    slow: tuple[EventBench, SlowStore],
) -> None:
    bench, store = slow
    client = bench.client()
    await store.answer()
    await bench.until_read()
    store.failing = True
    session = client.connection.session
    assert session is not None
    with pytest.raises(UnavailableError):
        await bench.streams.execute(session.principal, SubscribeEvents("new", Filter()))
    assert names(bench) == []


async def test_what_cannot_be_read_is_tried_again(
    slow: tuple[EventBench, SlowStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketstream.engine.events.subscription_store.AGAIN", 0.01)
    bench, store = slow
    store.failing = True
    store.kept["acme", "u1"] = {"mine": b"{}", "broken": b'{"types":5}'}
    bench.client()
    await asyncio.sleep(0.03)
    assert bench.streams.unread == 1
    assert Health(bench.streams).look().reasons == ("the subscriptions of 1 users cannot be read",)
    store.failing = False
    await store.answer()
    await bench.until_read()
    assert names(bench) == ["mine"]
    assert Health(bench.streams).look().reasons == ()


async def test_a_user_holds_a_bounded_number_of_subscriptions(bench: EventBench) -> None:
    client = bench.client()
    for number in range(MAX_NAMES):
        await bench.subscribe(client, f"n{number}")
    with pytest.raises(SubscriptionLimitError):
        await bench.subscribe(client, "one more")
    await bench.subscribe(client, "n0", types=["halt"])
    assert len(names(bench)) == MAX_NAMES


async def test_news_of_a_user_who_is_not_here_are_passed_over(bench: EventBench) -> None:
    bench.news.send(render_user(("acme", "nobody")))
    assert bench.streams.unread == 0
