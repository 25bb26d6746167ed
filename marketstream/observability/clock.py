"""The machine's time, behind the `Clock` port: the one place that reads it for everyone else."""

import time

from marketstream.ports import Clock


class SystemClock:
    """Monotonic seconds for waiting, epoch milliseconds for the wire."""

    def now(self) -> float:
        """Monotonic seconds; never goes back; the zero is arbitrary."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Epoch milliseconds; may be corrected by the machine at any time."""
        return time.time_ns() // 1_000_000


_: type[Clock] = SystemClock
