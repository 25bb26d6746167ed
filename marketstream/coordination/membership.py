"""Track which processes are alive, by Redis' clock.

Each says once a second that it is there, by Redis' own clock. What is not heard for five seconds is dead; a
process that was killed is known to be at once to whoever asks, because nobody listens to its probe any more.
"""

from collections.abc import Iterable
from importlib.resources import files

from marketstream.bus.client import Client, Script, Word
from marketstream.wire import keys

BEAT = 1.0
"""Seconds between two signs of life."""

DEAD_AFTER = 5.0
"""Seconds without one after which a process counts as dead."""

FORGOTTEN_AFTER = 600.0
"""Seconds for which the dead are remembered: longer than a connection may stand open to nobody."""

SCRIPT = Script(files("marketstream.coordination").joinpath("lua/beat.lua").read_text())


class Membership:
    """See the module.

    Args:
        client: Commands go through it.
        node: Name of this process.

    Attributes:
        node: Name of this process.
    """

    def __init__(self, *, client: Client, node: str) -> None:
        self.node = node
        self._client = client
        self._silent: dict[str, float] = {}

    async def beat(self, number: int) -> tuple[bool, dict[str, int]]:
        """Tell Redis that this process is alive.

        Args:
            number: Of its newest word on `keys.DEMAND`.

        Returns:
            Whether Redis knew it, and the number of each other process that is alive, by its name.

        Raises:
            RedisError: Redis did not answer.
        """
        names = [keys.NODES_SEEN, keys.NODES_NUMBERS]
        words: list[Word] = [self.node, number, round(FORGOTTEN_AFTER * 1000)]
        ((known, *told),) = await self._client.evaluate(SCRIPT, [(names, words)])
        silent: dict[str, float] = {}
        alive: dict[str, int] = {}
        for at in range(0, len(told), 4):
            name, latest, seen_at, age = told[at : at + 4]
            if age > DEAD_AFTER * 1000:
                silent[name.decode()] = float(seen_at)
            else:
                alive[name.decode()] = int(latest)
        self._silent = silent
        alive.pop(self.node, None)
        return bool(known), alive

    async def dead(self, nodes: Iterable[str]) -> list[str]:
        """Return the dead among processes; one never heard of is alive if somebody listens.

        Raises:
            RedisError: Redis did not answer.
        """
        asked = list(nodes)
        listeners = await self._client.listeners([keys.probe_channel(node) for node in asked])
        deaf = {channel for channel, count in listeners.items() if not count}
        return [
            node
            for node in asked
            if keys.probe_channel(node).encode() in deaf
            or (node in self._silent and not await self._stirs(node))
        ]

    async def _stirs(self, node: str) -> bool:
        """Return whether a silent process was heard since this one looked."""
        (at,) = await self._client.ask([("ZSCORE", keys.NODES_SEEN, node)])
        return at is not None and at != self._silent.get(node)

    async def leave(self) -> None:
        """Tell Redis that this process is gone.

        Raises:
            RedisError: Redis did not answer.
        """
        seen, numbers = ("ZREM", keys.NODES_SEEN, self.node), ("HDEL", keys.NODES_NUMBERS, self.node)
        await self._client.ask([seen, numbers])
