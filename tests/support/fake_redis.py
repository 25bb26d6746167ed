"""A small Redis in memory behind the seam of the bus, for what a real one does once in a thousand runs.

It knows the commands and scripts that the bus and the coordination send, and nothing else; that it answers as
a real one does is shown by `tests/contract/test_fake_redis.py`. What a test wants to go wrong it says before:

    redis.lose(PUBLISH)                    carried out, but the connection ends before the reply
    redis.drop("HSCAN")                    not carried out: the connection ends
    redis.answer(PUBLISH, ResponseError()) not carried out: this is the reply
    redis.before(FENCE, steal)             something else happens first
    gate = redis.hold("GET")               carried out when the gate is set

Each holds once, or as often as is said. Subscriptions are confirmed at once unless `confirms` is False.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from marketstream.bus.client import Client, Receive, Script, Word
from marketstream.bus.listener import Listener
from marketstream.wire import keys
from tests.support.fake_scripts import SCRIPTS
from tests.support.instant import WALL_MS

What = str | Script
"""A command by its name, or a script."""


@dataclass
class _Rule:
    """What is to happen at some calls."""

    what: What
    times: int
    carried_out: bool = True
    reply: Exception | None = None
    ends: bool = False
    call: Callable[[], None] | None = None
    gate: asyncio.Event | None = None


class FakeRedis:
    """See the module.

    Attributes:
        data: Values by key: bytes, a hash, or scores.
        confirms: Whether subscriptions are confirmed.
        down: Whether it cannot be reached.
        calls: What was asked, in order: a command's name, or a script's text.
        links: Listeners that are open.
    """

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.confirms = True
        self.down = False
        self.calls: list[str] = []
        self.links: list[FakeListener] = []
        self._ends: dict[str, float] = {}
        self._known: set[str] = set()
        self._rules: list[_Rule] = []

    def client(self, *, sharded: bool = False) -> "FakeClient":
        """One more process."""
        return FakeClient(self, sharded=sharded)

    # What shall happen

    def lose(self, what: What, times: int = 1) -> None:
        """Carries it out, and loses the connection before the reply."""
        self._rules.append(_Rule(what, times, ends=True))

    def drop(self, what: What, times: int = 1) -> None:
        """Loses the connection before it is carried out."""
        self._rules.append(_Rule(what, times, carried_out=False, ends=True))

    def answer(self, what: What, error: Exception, times: int = 1) -> None:
        """Answers an error instead of carrying it out."""
        self._rules.append(_Rule(what, times, carried_out=False, reply=error))

    def before(self, what: What, call: Callable[[], None]) -> None:
        """Does something else first."""
        self._rules.append(_Rule(what, 1, call=call))

    def hold(self, what: What) -> asyncio.Event:
        """Waits with it until the event is set that is returned."""
        gate = asyncio.Event()
        self._rules.append(_Rule(what, 1, gate=gate))
        return gate

    def restart(self) -> None:
        """Forgets everything, scripts too, and ends every connection that listens."""
        self.data.clear()
        self._ends.clear()
        self._known.clear()
        self.cut()

    def cut(self) -> None:
        """Ends every connection that listens."""
        for link in list(self.links):
            link.lost.set()

    def confirm(self) -> None:
        """Confirms what was subscribed."""
        for link in self.links:
            link.confirm()

    def count(self, what: What) -> int:
        """How often something was asked."""
        return self.calls.count(_name(what))

    # What it does

    @property
    def micros(self) -> int:
        """Epoch microseconds by its clock."""
        return WALL_MS * 1000 + int(asyncio.get_running_loop().time() * 1_000_000)

    async def ask(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Carries out commands that came together; all of their replies are lost with the connection."""
        # Whoever asks waits, be it for a moment.
        await asyncio.sleep(0)
        if self.down:
            raise RedisConnectionError("there is no Redis")
        replies, ends = [], False
        for words in commands:
            reply, ended = await self._obey(words)
            replies.append(reply)
            ends = ends or ended
        if ends:
            raise RedisConnectionError("the connection was lost")
        return replies

    async def _obey(self, words: Sequence[Word]) -> tuple[Any, bool]:
        name = str(words[0])
        if name == "EVALSHA" and words[1] not in self._known:
            return NoScriptError("NOSCRIPT No matching script."), False
        what = _script(str(words[1])) if name.startswith("EVAL") else name
        self.calls.append(what)
        rule = next((each for each in self._rules if _name(each.what) == what), None)
        if rule is None:
            return self.run(words), False
        rule.times -= 1
        if not rule.times:
            self._rules.remove(rule)
        if rule.call is not None:
            rule.call()
        if rule.gate is not None:
            await rule.gate.wait()
        reply = self.run(words) if rule.carried_out else rule.reply
        return reply, rule.ends

    def run(self, words: Sequence[Word]) -> Any:
        """Carries out one command and returns its reply, which may be an error."""
        name, *rest = words
        try:
            if str(name).startswith("EVAL"):
                text = _script(str(rest[0]))
                self._known.add(Script(text).digest)
                count = int(rest[1])
                names = [str(each) for each in rest[2 : 2 + count]]
                return SCRIPTS[text](self, names, [_bytes(each) for each in rest[2 + count :]])
            return _COMMANDS[str(name)](self, *rest)
        except ResponseError as error:
            return error

    def live(self, key: str) -> Any:
        """The value of a key whose time is not over, or None."""
        if key in self._ends and self._ends[key] <= self.micros / 1000:
            self.remove(key)
        return self.data.get(key)

    def remove(self, key: str) -> int:
        """Removes a key; whether it was there."""
        self._ends.pop(key, None)
        return int(self.data.pop(key, None) is not None)

    def expire(self, key: str, milliseconds: int) -> None:
        """Ends a key later."""
        self._ends[key] = self.micros / 1000 + milliseconds

    def ttl(self, key: str) -> int:
        """Milliseconds that a key has left: -1 for no end, -2 for no key."""
        if self.live(key) is None:
            return -2
        return round(self._ends[key] - self.micros / 1000) if key in self._ends else -1

    def store(self, key: str, value: bytes) -> None:
        """Puts a string there, for good."""
        self._ends.pop(key, None)
        self.data[key] = value

    def hash(self, key: str) -> dict[bytes, bytes]:
        """A hash to be written to, made where there is none."""
        self.live(key)
        found: dict[bytes, bytes] = self.data.setdefault(key, {})
        return found

    def publish(self, channel: str, message: bytes) -> int:
        """Delivers a message; how many heard it."""
        hearing = [link for link in self.links if channel in link.confirmed]
        for link in hearing:
            link.receive(channel, message)
        return len(hearing)


class FakeListener:
    """See `bus.listener.Listener`.

    Attributes:
        receive: Takes a channel and a message.
        confirmed: Channels that are heard.
        lost: Set to end the connection.
    """

    def __init__(self, redis: FakeRedis, receive: Receive) -> None:
        self.receive = receive
        self.confirmed: set[str] = set()
        self.lost = asyncio.Event()
        self._redis = redis
        self._wanted: dict[str, asyncio.Event] = {}

    async def open(self) -> None:
        """Connects."""
        if self._redis.down:
            raise RedisConnectionError("there is no Redis")
        self._redis.links.append(self)

    async def close(self) -> None:
        """Ends it."""
        if self in self._redis.links:
            self._redis.links.remove(self)

    def probe_channels(self, name: str) -> list[str]:
        """One."""
        return [keys.probe_channel(name)]

    def subscribe(self, channels: Iterable[str]) -> None:
        """Adds channels."""
        for channel in channels:
            self._wanted.setdefault(channel, asyncio.Event())
        if self._redis.confirms:
            self.confirm()

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Takes channels away."""
        for channel in channels:
            self.confirmed.discard(channel)
            if (event := self._wanted.pop(channel, None)) is not None:
                event.set()

    async def subscribed(self, channels: Iterable[str]) -> None:
        """Returns when they are heard."""
        for channel in list(channels):
            if (event := self._wanted.get(channel)) is not None:
                await event.wait()

    def confirm(self) -> None:
        """Hears what was asked for from now on."""
        self.confirmed |= self._wanted.keys()
        for event in self._wanted.values():
            event.set()

    async def write(self) -> None:
        """Has nothing to write."""
        await asyncio.Event().wait()

    async def read(self) -> None:
        """Ends with the connection."""
        await self.lost.wait()
        raise RedisConnectionError("the connection was lost")


class FakeClient(Client):
    """One process at a `FakeRedis`."""

    def __init__(self, redis: FakeRedis, *, sharded: bool = False) -> None:
        super().__init__(cast("Redis", None))
        self.redis = redis
        self.sharded = sharded  # type: ignore[misc]  # of the class elsewhere

    async def _ask(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        return await self.redis.ask(commands)

    async def listeners(self, channels: Sequence[str]) -> dict[bytes, int]:
        """See `Client.listeners`."""
        if self.redis.down:
            raise RedisConnectionError("there is no Redis")
        return {
            channel.encode(): sum(channel in link.confirmed for link in self.redis.links)
            for channel in channels
        }

    def listener(self, receive: Receive) -> FakeListener:
        """See `Client.listener`."""
        return FakeListener(self.redis, receive)

    async def disconnect(self) -> None:
        """Nothing is kept."""

    async def aclose(self) -> None:
        """Nothing is open."""


def _name(what: What) -> str:
    return what.text if isinstance(what, Script) else what


_TEXTS = {Script(text).digest: text for text in SCRIPTS}


def _script(given: str) -> str:
    """The text of a script that is given by its text or its digest."""
    return _TEXTS.get(given, given)


def _bytes(word: Word) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


# Commands


def _get(redis: FakeRedis, key: Any) -> Any:
    return redis.live(key)


def _set(redis: FakeRedis, key: Any, value: Any, *options: Any) -> bool | None:
    if "NX" in options and redis.live(key) is not None:
        return None
    redis.store(key, _bytes(value))
    if "PX" in options:
        redis.expire(key, int(options[options.index("PX") + 1]))
    return True


def _hset(redis: FakeRedis, key: Any, *words: Any) -> int:
    stored = redis.hash(key)
    given = {_bytes(name): _bytes(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    added = len(given.keys() - stored.keys())
    stored |= given
    return added


def _hdel(redis: FakeRedis, key: Any, *names: Any) -> int:
    stored = redis.live(key) or {}
    removed = sum(stored.pop(_bytes(name), None) is not None for name in names)
    if not stored:
        redis.remove(key)
    return removed


def _hmget(redis: FakeRedis, key: Any, *names: Any) -> list[bytes | None]:
    stored = redis.live(key) or {}
    return [stored.get(_bytes(name)) for name in names]


def _pexpire(redis: FakeRedis, key: Any, milliseconds: Any) -> bool:
    if redis.live(key) is None:
        return False
    redis.expire(key, int(milliseconds))
    return True


def _exists(redis: FakeRedis, key: Any) -> int:
    return int(redis.live(key) is not None)


def _scan(redis: FakeRedis, key: Any, *_: Any) -> tuple[int, dict[bytes, bytes]]:
    return 0, dict(redis.live(key) or {})


_COMMANDS: dict[str, Callable[..., Any]] = {
    "DEL": lambda redis, key: redis.remove(key),
    "EXISTS": _exists,
    "GET": _get,
    "HDEL": _hdel,
    "HGETALL": lambda redis, key: dict(redis.live(key) or {}),
    "HMGET": _hmget,
    "HSCAN": _scan,
    "HSET": _hset,
    "PEXPIRE": _pexpire,
    "PTTL": lambda redis, key: redis.ttl(key),
    "PUBLISH": lambda redis, channel, message: redis.publish(channel, message),
    "SET": _set,
    "SPUBLISH": lambda redis, channel, message: redis.publish(channel, message),
    "TIME": lambda redis: [b"%d" % (redis.micros // 1_000_000), b"%d" % (redis.micros % 1_000_000)],
    "ZREM": _hdel,
    "ZSCORE": lambda redis, key, name: (
        None if (at := (redis.live(key) or {}).get(_bytes(name))) is None else float(at)
    ),
}

_: type[Listener] = FakeListener
