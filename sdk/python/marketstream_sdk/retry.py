"""When to try again, and when to stop.

Pure: errors in, seconds out. A connection that was in order resets the count; one that the server only
accepted and dropped does not, so a server in trouble is not hammered.
"""

from dataclasses import dataclass

from marketstream_sdk.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConnectionLostError,
    MarketDataError,
)

TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - a code of the protocol, not a token


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before each attempt: 2, 4, 8, 16, 32 s by default.

    Attributes:
        attempts: Attempts until the client gives up; 0 for never.
        first: Seconds before the first one; doubled from one to the next.
        longest: Seconds between two at most.
        jitter: Share that chance may add, so that clients of one server do not come back together.
    """

    attempts: int = 5
    first: float = 2.0
    longest: float = 32.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if self.attempts < 0:
            raise ValueError("attempts must be 0 (for ever) or more")

    def delay(self, attempt: int, chance: float) -> float:
        """Return seconds before an attempt.

        Args:
            attempt: Its number, from 1.
            chance: A random number from 0 to 1.
        """
        # Doubling stops long before a float is too small for it.
        doubled = self.first * 2.0 ** min(attempt - 1, 64)
        return min(doubled, self.longest) * (1 + self.jitter * chance)


class Retry:
    """What comes after each failure of one client.

    Args:
        backoff: How long to wait.
        renewable: Whether there is a function that gives new tokens.

    Attributes:
        attempts: Attempts since the connection was last in order.
    """

    def __init__(self, backoff: Backoff, *, renewable: bool) -> None:
        self.attempts = 0
        self._backoff = backoff
        self._renewable = renewable
        self._refused = False
        self._expired = False

    def healthy(self) -> None:
        """Forget past failures: the connection is in order."""
        self.attempts = 0
        self._refused = self._expired = False

    def after(self, error: MarketDataError, chance: float) -> float:
        """Return seconds to wait before the next attempt.

        Args:
            error: What went wrong.
            chance: A random number from 0 to 1.

        Raises:
            AuthenticationError: The token is refused, and another one would be too, or there is none.
            ConnectionFailedError: That was the last attempt.
        """
        if isinstance(error, AuthenticationError) and self._at_once(error):
            return 0.0
        self.attempts += 1
        allowed = self._backoff.attempts
        if allowed and self.attempts > allowed:
            self.attempts = allowed
            raise ConnectionFailedError(allowed, error) from error
        asked = error.retry_after if isinstance(error, ConnectionLostError) else 0.0
        return max(asked, self._backoff.delay(self.attempts, chance))

    def _at_once(self, error: AuthenticationError) -> bool:
        """Return whether a new token may be tried at once, as it may the first time.

        Raises:
            AuthenticationError: No token that this client can have would do.
        """
        if not self._renewable:
            raise error
        if error.code == TOKEN_EXPIRED:
            repeated, self._expired = self._expired, True
            return not repeated
        if self._refused:
            raise error
        self._refused = True
        return True
