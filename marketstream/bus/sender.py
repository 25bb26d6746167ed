"""What goes out to Redis: frames in batches, one call a shard, and messages of the relay.

Nothing here waits while it is given something to send. What finds no room is counted and told.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from marketstream.bus.queue import Queue
from marketstream.core.frame import Frame
from marketstream.errors import BusError, InvalidMessageError
from marketstream.wire import envelope, keys

log = structlog.get_logger(__name__)

SCRIPT = files("marketstream.bus").joinpath("lua/publish.lua").read_text()

MAX_NOTES = 1_000
"""Messages of the relay that wait."""


class Sender:
    """See the module; `len` is the number of frames that wait.

    Args:
        client: Commands go through it.
        shards: Number of shards.
    """

    def __init__(self, client: Redis, shards: int) -> None:
        self._client = client
        self._script = client.register_script(SCRIPT)
        self._queue = Queue(shards)
        self._notes: deque[bytes] = deque(maxlen=MAX_NOTES)
        self._work = asyncio.Event()
        self._newest = 0

    def __len__(self) -> int:
        return len(self._queue)

    def publish(self, frames: Sequence[Frame]) -> None:
        """Puts frames into the queue."""
        lost = self._queue.lost
        self._queue.put(frames)
        self._work.set()
        if self._queue.lost and not lost:
            log.warning("bus_queue_overflowed", waiting=len(self._queue))

    def send(self, note: bytes) -> None:
        """Puts a message of the relay behind the others; the oldest goes when there is no room."""
        if len(self._notes) == self._notes.maxlen:
            log.warning("relay_message_lost", waiting=len(self._notes))
        self._notes.append(note)
        self._work.set()

    def seen(self, cursor: int) -> None:
        """Notes a cursor; what is sent from now on gets a greater one, whatever Redis has forgotten."""
        self._newest = max(self._newest, cursor)

    async def run(self) -> None:
        """Sends what waits, until cancelled or until Redis fails; may be run again."""
        self._work.set()
        while True:
            await self._work.wait()
            self._work.clear()
            while self._notes:
                # Taken out first: an event twice would be worse than one that is lost with its connection.
                await self._client.publish(keys.RELAY, self._notes.popleft())
            while batches := self._queue.take():
                await self._send(batches)

    async def _send(self, batches: list[tuple[int, list[Frame]]]) -> None:
        try:
            replies = await self._evaluate(batches)
        except BaseException:
            # Whether it arrived is not known: the newest value twice is better than not at all.
            self._queue.put_back(batches)
            raise
        self.seen(max(map(int, replies)))

    async def _evaluate(self, batches: list[tuple[int, list[Frame]]]) -> list[Any]:
        calls = [(_names(shard), self._words(frames)) for shard, frames in batches]
        for _ in range(2):
            async with self._client.pipeline(transaction=False) as pipe:
                for names, words in calls:
                    pipe.evalsha(self._script.sha, len(names), *names, *words)
                try:
                    return await pipe.execute()
                except NoScriptError:
                    # All of it failed for the same reason: a Redis that was started anew knows no script.
                    await self._client.script_load(SCRIPT)
        raise BusError("the script is not kept")

    def _words(self, frames: list[Frame]) -> list[str | bytes | int]:
        words: list[str | bytes | int] = [self._newest]
        for frame in frames:
            try:
                entry = envelope.render(frame)
            except InvalidMessageError as error:
                log.warning("bus_message_refused", error=str(error))
                continue
            words += ("" if frame.key is None else keys.field(frame.tenant, frame.key), entry)
        return words


def _names(shard: int) -> tuple[str, ...]:
    return keys.last_values(shard), keys.shard_cursor(shard), keys.CURSOR, keys.frames_channel(shard)
