"""Implement the `Clock` port by the machine's time."""

import time

from marketstream.ports import Clock


class SystemClock:
    """Monotonic seconds for waiting, epoch milliseconds for the wire."""

    now = staticmethod(time.monotonic)
    """See `ports.Clock.now`; the very function of the machine, as it is asked on every hop."""

    def wall_ms(self) -> int:
        """See `ports.Clock.wall_ms`."""
        return time.time_ns() // 1_000_000


_: type[Clock] = SystemClock
