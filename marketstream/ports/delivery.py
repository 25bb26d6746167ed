"""Define what delivery expects of adapters: bus, relay, verifier, connection limits."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.ports.clock import Clock


class Bus(Protocol):
    """Carries frames to every process and remembers the last one of each symbol and tenant.

    Frames of one symbol arrive everywhere in the order of their cursors, at most once, and those of one
    `publish` call together, if they travel on one channel: a bus may divide the market between several.
    The last value is stored in the same step as it is published. A process hears of what it watches; of
    other symbols it may hear nothing. While frames cannot travel the bus itself says, by `status` frames,
    what is stale; of what waits to be published it keeps at least the newest of each key.
    """

    @property
    def connected(self) -> bool:
        """Whether frames can travel right now; never blocks."""
        ...

    @property
    def clock(self) -> Clock:
        """Time as cursors tell it: one for all processes, whatever the clock of this machine says."""
        ...

    @property
    def skew(self) -> int:
        """Microseconds by which cursors of two symbols may belie the order of their publishing; 0: never."""
        ...

    def publish(self, frames: Sequence[Frame]) -> None:
        """Send frames on their way, to be stamped with a cursor; never block, never raise for a peer."""
        ...

    def attach(self, receive: Callable[[Sequence[Frame]], None]) -> None:
        """Name the one receiver in this process; called before anything is published."""
        ...

    def watch(self, name: str) -> None:
        """Ask to hear of a symbol or channel; counted, so each call needs an `unwatch`."""
        ...

    def unwatch(self, name: str) -> None:
        """Take one `watch` back."""
        ...

    def last(self, wanted: Sequence[str], tenant: str) -> Sequence[Frame] | Awaitable[Sequence[Frame]]:
        """Return the newest frame a tenant may see of each key that has one, in the order asked for.

        A key is a symbol, or the key of any other frame that was published. The answer is at hand, or must
        be awaited. Awaited directly, nothing is received between the answer and the next step of the caller;
        of what is watched it is never older than what was received. What cannot be known is left out.
        """
        ...

    async def run(self) -> None:
        """Do what must be done in the background, until cancelled or done with it."""
        ...


class Relay(Protocol):
    """Carries python-socketio's own messages between processes; each arrives at most once, in order."""

    def send(self, message: bytes) -> None:
        """Send a message to every process, this one too; never block."""
        ...

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """Name the one receiver in this process."""
        ...


class Verifier(Protocol):
    """Turns a token into a principal."""

    def verify(self, token: str) -> Principal | Awaitable[Principal]:
        """Check signature, algorithm, time and claim.

        Returns at once when the keys are at hand, and an awaitable when they must be fetched.

        Raises:
            TokenExpiredError: The token was good and is over.
            AuthFailedError: Anything else is wrong with it.
        """
        ...


class ConnectionLimits(Protocol):
    """How many connections each user has, in all processes that are alive, and who may have one more."""

    def acquire(self, tenant: str, user: str, limit: int) -> Awaitable[None] | None:
        """Count one more connection of a user, if the limit allows it.

        A connection counts from this moment until it is released; one whose waiting is cancelled does not.

        Args:
            tenant: The tenant.
            user: The user.
            limit: Connections that the user may have, at least 1.

        Returns:
            None when it is taken; an awaitable when others must be asked, which must be awaited.

        Raises:
            ConnectionLimitError: All are taken; raised at once or when awaited. Nothing is held then.
        """
        ...

    def release(self, tenant: str, user: str) -> None:
        """Give a connection back; never block."""
        ...
