"""Write the sign of life of the leader, and detect that there is none.

Prices may be rare, so their silence says nothing. Whoever holds the lease therefore writes a sign to every
shard twice a second, as it writes frames and fenced like them: a Redis that takes no frames takes no sign.
Everybody reads when it was last written, by Redis' own count of the time since, so no clock is compared.
"""

import math
from importlib.resources import files

from marketstream.bus.client import Call, Client, Script, Word
from marketstream.ports import Clock
from marketstream.wire import keys

SHARE = 0.8
"""Part of the time after which prices are stale that a sign may be missing: so it is noticed in time."""

PULSE = Script(files("marketstream.bus").joinpath("lua/pulse.lua").read_text())


def patience_of(stale_after: float) -> float:
    """Return seconds without a sign after which nobody feeds the market."""
    return stale_after * SHARE


class Pulse:
    """What the one that feeds writes.

    Args:
        client: Commands go through it.
        clock: Time.
        shards: Number of shards.
        patience: Seconds without a sign after which others take it for dead.
    """

    def __init__(self, client: Client, clock: Clock, shards: int, patience: float) -> None:
        self._client = client
        self._clock = clock
        self._shards = shards
        self._patience = patience
        self._last: float | None = None

    def start_term(self) -> None:
        """Begin a time of feeding."""
        self._last = None

    async def beat(self, term: str) -> bool:
        """Write the sign of life.

        Returns:
            Whether others had given this process up since the last one.

        Raises:
            RedisError: Redis did not take it.
        """
        names = [name for shard in range(self._shards) for name in (keys.fence(shard), keys.pulse(shard))]
        step = 2 if self._client.sharded else len(names)
        words: list[Word] = [term, round(self._patience * 2000)]
        calls: list[Call] = [(names[at : at + step], words) for at in range(0, len(names), step)]
        await self._client.evaluate(PULSE, calls)
        now = self._clock.now()
        given_up = self._last is not None and now - self._last > self._patience
        self._last = now
        return given_up


class PulseWatch:
    """What everybody reads.

    Args:
        client: Commands go through it.
        clock: Time.
        shards: Number of shards.
        patience: Seconds without a sign after which nobody feeds.

    Attributes:
        silent: Shards that nobody feeds, as far as is known.
    """

    def __init__(self, client: Client, clock: Clock, shards: int, patience: float) -> None:
        self.silent: frozenset[int] = frozenset()
        self.patience = patience
        self._client = client
        self._clock = clock
        self._shards = shards
        self._seen_at: dict[int, float] = {}

    async def look(self) -> tuple[frozenset[int], frozenset[int]]:
        """Read the signs once.

        Returns:
            The shards that nobody feeds any more, and those that somebody feeds again.

        Raises:
            RedisError: Redis did not answer.
        """
        ages = await self._read_ages()
        now = self._clock.now()
        for shard, age in ages.items():
            self._seen_at[shard] = max(self._seen_at.get(shard, -math.inf), now - age)
        before = self.silent
        self.silent = frozenset(s for s, at in self._seen_at.items() if now - at >= self.patience)
        return self.silent - before, before - self.silent

    def left(self) -> float:
        """Return seconds until what is fed counts as silent unless a sign is read; below 0: nobody looked."""
        now = self._clock.now()
        fed = (at for shard, at in self._seen_at.items() if shard not in self.silent)
        return min(fed, default=now) + self.patience - now

    async def _read_ages(self) -> dict[int, float]:
        """Return seconds since the last sign of each shard that has one."""
        shards = range(self._shards)
        commands = [("PTTL", keys.pulse(shard)) for shard in shards]
        first = not self._seen_at
        if first:
            commands += [("EXISTS", keys.shard_cursor(shard)) for shard in shards]
        replies = await self._client.ask(commands)
        kept = 2 * self.patience
        ages = {s: kept - left / 1000 for s, left in zip(shards, replies, strict=False) if left > 0}
        if first:
            for shard, used in zip(shards, replies[self._shards :], strict=True):
                # Where there are prices somebody has fed long ago. An empty Redis may have been started just
                # now, as may all processes: whoever will feed is given its time.
                ages.setdefault(shard, math.inf if used else 0.0)
        return ages
