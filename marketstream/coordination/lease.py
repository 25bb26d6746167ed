"""Hold the lease that makes one process the leader.

Each holding is a term with a number. Before it begins every shard is closed to earlier terms, so a
process that was frozen and wakes up cannot publish any more, whatever it believes. A holder that cannot reach
Redis goes on leading, since nobody can have taken it over there: what it publishes waits, and Redis decides
when it is back. It is lost only when Redis says that somebody else has, or had, the lease. So that a Redis
that was away does not change the holder, who waits looks a few times before it takes what it finds free.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.resources import files

import structlog
from redis.exceptions import RedisError

from marketstream.bus.client import Call, Script
from marketstream.bus.pulse import Pulse
from marketstream.bus.redis import RedisBus
from marketstream.coordination.lease_state import LeaseState
from marketstream.core.delivery.frame import Frame
from marketstream.errors import InvalidMessageError
from marketstream.ports import Lease
from marketstream.wire import envelope, keys

log = structlog.get_logger(__name__)

TTL_MS = 2_000
"""Milliseconds after which a lease that nobody renews is free."""

STEP = 0.5
"""Seconds between two looks at the lease, by whoever holds it and by those who would."""

PAGE = 500
"""Last values read in one call."""

_LUA = files("marketstream.coordination").joinpath("lua")
TAKE = Script(_LUA.joinpath("lease.lua").read_text())
FENCE = Script(_LUA.joinpath("fence.lua").read_text())
RELEASE = Script(
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)


class RedisLease:
    """See the module and `ports.Lease`.

    Args:
        bus: Whose Redis it is, and what must be published in the name of the term.
        shards: Number of shards.
        resumed: Called when others had given this process up as the one that feeds, and it goes on feeding.
    """

    def __init__(
        self, bus: RedisBus, shards: int = keys.SHARDS, resumed: Callable[[], None] = lambda: None
    ) -> None:
        self._pulse = Pulse(bus.client, bus.clock, shards, bus.pulse.patience)
        self._resumed = resumed
        self._bus = bus
        self._client = bus.client
        self._shards = shards
        self._state = LeaseState()

    @property
    def held(self) -> bool:
        """Whether this process feeds the market: it has inherited, and Redis has not refused it since."""
        return self._state.serving and not self._bus.sender.fenced

    async def hold(self, lead: Callable[[Sequence[Frame]], Awaitable[None]]) -> None:
        """See `ports.Lease.hold`."""
        try:
            while True:
                # Asked again and again: Redis tells nobody when a key expires, unless it is configured to.
                if await self._ask():
                    log.info("lease_taken", term=self._state.term)
                    await self._serve(lead)
                    log.warning("lease_lost", node=self._bus.node)
                await asyncio.sleep(STEP)
        finally:
            await self._give_up()

    async def _serve(self, lead: Callable[[Sequence[Frame]], Awaitable[None]]) -> None:
        """Lead as long as the term lasts."""
        working = asyncio.ensure_future(self._inherit(lead))
        try:
            while not working.done():
                await asyncio.wait([working], timeout=STEP)
                if not working.done() and not await self._renew():
                    break
        finally:
            # Before the work ends: from now on nobody may forward publications to this process.
            self._state.serving = False
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
            # Last of all: until here nothing may be published in nobody's name.
            self._state.end()
            self._bus.sender.end_term()

    async def _inherit(self, lead: Callable[[Sequence[Frame]], Awaitable[None]]) -> None:
        said = False
        while True:
            try:
                last_values = await self._read_all()
                break
            except (RedisError, OSError) as error:
                # It may last as long as a loss of Redis does, or a lack of descriptors: once is enough.
                if not said:
                    log.warning("bus_read_failed", error=repr(error))
                said = True
                await asyncio.sleep(STEP)
        # Only after the last values are known: without them times of symbols could go back.
        self._state.serving = True
        self._pulse.start_term()
        await lead(last_values)

    async def _ask(self) -> bool:
        """Try to begin a term."""
        try:
            # Looking does no harm should it reach a frozen Redis only when that goes on; taking would.
            held, ever_held = await self._client.ask([("EXISTS", keys.LEASE), ("EXISTS", keys.TERM)])
            if not self._state.looked(held=bool(held), ever_held=bool(ever_held)):
                return False
            term = await self._call_take("")
            return bool(term) and await self._begin(term)
        except (RedisError, OSError):
            # The bus says what there is to say about a Redis that does not answer.
            self._state.unanswered()
            return False

    async def _renew(self) -> bool:
        """Keep the lease; False when it is another's, or was."""
        try:
            answer = await self._call_take(self._state.term)
            found = self._state.renewed(answer, fenced=self._bus.sender.fenced)
            if found == "new":
                return await self._begin(answer)
            if found == "kept":
                await self._beat()
        except (RedisError, OSError):
            # Nobody can have taken it over there, as far as is known.
            return True
        return found == "kept"

    async def _begin(self, term: str) -> bool:
        """Open every shard for a term and close it to earlier ones; False when a later one has begun."""
        # Every shard, because each may live on another node of a cluster and is fenced by itself.
        calls = [([keys.fence(shard)], [term]) for shard in range(self._shards)]
        if any(str(found, "ascii") != term for found in await self._client.evaluate(FENCE, calls)):
            return False
        self._state.begin(term)
        self._bus.sender.start_term(term)
        return True

    async def _beat(self) -> None:
        # A lease can be renewed while nothing can be published: then others must not rely on it.
        if self._state.serving and self._bus.connected and await self._pulse.beat(self._state.term):
            self._resumed()

    async def _call_take(self, term: str) -> str:
        call: Call = ([keys.LEASE, keys.TERM], [self._bus.node, term, TTL_MS])
        (found,) = await self._client.evaluate(TAKE, [call])
        return str(found, "ascii")

    async def _read_all(self) -> list[Frame]:
        """Return every last value that Redis has."""
        frames: list[Frame] = []
        for shard in range(self._shards):
            cursor = 0
            while True:
                scan = ("HSCAN", keys.last_values(shard), cursor, "COUNT", PAGE)
                ((cursor, page),) = await self._client.ask([scan])
                frames += _readable(page.values())
                if not cursor:
                    break
        return frames

    async def _give_up(self) -> None:
        """Let the next one begin at once; without an answer it takes `TTL_MS`."""
        with suppress(RedisError, OSError):
            await self._client.evaluate(RELEASE, [([keys.LEASE], [self._bus.node])])


def _readable(values: Iterable[bytes]) -> Iterator[Frame]:
    for value in values:
        try:
            yield envelope.parse_value(value)
        except InvalidMessageError as error:
            log.warning("bus_message_refused", error=str(error))


_: type[Lease] = RedisLease
