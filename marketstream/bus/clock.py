"""Follow the clock of Redis, which all processes share.

It is read now and then and goes on by this machine's monotonic clock in between, so that it never runs ahead
of Redis, whatever this machine's wall clock says. Until it was read first the wall clock stands in.
"""

from marketstream.bus.client import Client, Script
from marketstream.ports import Clock
from marketstream.wire import keys

_TIME = Script("""#!lua flags=no-writes
local t = redis.call('TIME')
return t[1] * 1000 + math.floor(t[2] / 1000)
""")


class BusClock:
    """See the module and `ports.Clock`.

    Args:
        own: The clock of this machine.
    """

    def __init__(self, own: Clock) -> None:
        self._own = own
        # Epoch milliseconds at Redis when this machine's monotonic clock stood at 0.
        self._origin_ms: float | None = None

    def now(self) -> float:
        """Return monotonic seconds of this machine."""
        return self._own.now()

    def wall_ms(self) -> int:
        """Return epoch milliseconds at Redis: what it is there by now, or was a moment ago."""
        if self._origin_ms is None:
            return self._own.wall_ms()
        return int(self._origin_ms + self._own.now() * 1000)

    async def read(self, client: Client) -> None:
        """Ask Redis for its time.

        Raises:
            RedisError, OSError: It does not answer.
        """
        if client.sharded:
            # With a key, so that a cluster knows which node to ask; their clocks are close together.
            (at_ms,) = await client.evaluate(_TIME, [([keys.LEASE], [])])
        else:
            ((seconds, micros),) = await client.ask([("TIME",)])
            at_ms = int(seconds) * 1000 + int(micros) // 1000
        self._origin_ms = int(at_ms) - self._own.now() * 1000


_: type[Clock] = BusClock
