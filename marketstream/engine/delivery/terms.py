"""Define the limits of connections in one process."""

from dataclasses import dataclass

from marketstream.engine.delivery.delay import MAX_BYTES


@dataclass(frozen=True, slots=True)
class Delivery:
    """How connections are treated; all times in seconds.

    Attributes:
        heartbeat_interval: Between two `heartbeat` events.
        idle_timeout: A client that says nothing for so long is closed.
        slow_timeout: A client that takes nothing for so long is closed.
        connect_timeout: A connection that is not admitted by then is closed.
        max_unadmitted: Connections that may wait to be admitted.
        token_warning: Before its token ends a client is told so.
        max_delay: A price may wait so long for others to share its write.
        lane_capacity: Values of mode `every` that may wait, per symbol.
        control_capacity: Ordered messages that may wait.
        max_messages: Messages a second that a client may send.
        waiting_bytes: Bytes of one client's calls that may wait for something.
        max_waiting_bytes: Bytes of everything that waits for something.
        delayed_bytes: Bytes that prices held back for delayed plans may take.
    """

    heartbeat_interval: float = 30
    idle_timeout: float = 120
    slow_timeout: float = 30
    connect_timeout: float = 45
    max_unadmitted: int = 2_000
    token_warning: float = 60
    max_delay: float = 0.02
    lane_capacity: int = 1_000
    control_capacity: int = 1_000
    max_messages: int = 1_000
    waiting_bytes: int = 1024 * 1024
    max_waiting_bytes: int = 64 * 1024 * 1024
    delayed_bytes: int = MAX_BYTES
