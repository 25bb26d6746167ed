"""Limit the calls and messages of one connection by token buckets.

A `TokenBucket` paces the calls that cost something; a `MessageMeter` tells a client that floods from one
that is merely busy. Both are a few numbers each, as every connection owns one of either, and both survive
a clock that jumps back: it never gives a caller more than it would have had.
"""

import math

# A token that is this nearly whole counts: a caller who waits exactly as long as it was told to must not be
# refused because seconds are binary fractions. The bucket owes what it lent, so the rate stays the same.
_GRAIN = 1e-6


class TokenBucket:
    """Tokens that come back at a steady rate, up to a capacity; starts full.

    In any stretch of t seconds it grants at most `capacity + refill * t` tokens.

    Args:
        capacity: Tokens it holds when full; at least 1.
        refill: Tokens that come back each second; above 0.

    Raises:
        ValueError: The bucket could never grant a token, or never a second time.
    """

    __slots__ = ("_at", "_capacity", "_refill", "_tokens")

    def __init__(self, capacity: float, refill: float) -> None:
        _check(capacity, refill)
        self._capacity = capacity
        self._refill = refill
        self._tokens = capacity
        self._at = -math.inf

    @property
    def left(self) -> float:
        """Tokens it held after it was last asked for one."""
        return max(0.0, self._tokens)

    def resize(self, capacity: float, refill: float, now: float) -> None:
        """Go on with another size and rate: what was taken stays taken, and nothing is added.

        Args:
            capacity: As of the class.
            refill: As of the class.
            now: Monotonic seconds.

        Raises:
            ValueError: As of the class.
        """
        if (capacity, refill) == (self._capacity, self._refill):
            return
        _check(capacity, refill)
        self._fill(now)
        self._capacity, self._refill = capacity, refill
        self._tokens = min(capacity, self._tokens)

    def take(self, now: float) -> float:
        """Take one token.

        Args:
            now: Monotonic seconds.

        Returns:
            0.0 when a token was taken, else the seconds until there will be one.
        """
        self._fill(now)
        missing = 1 - self._tokens
        if missing > _GRAIN:
            return missing / self._refill
        self._tokens -= 1
        return 0.0

    def _fill(self, now: float) -> None:
        elapsed = now - self._at
        if elapsed > 0:
            self._tokens = min(self._capacity, self._tokens + elapsed * self._refill)
            self._at = now


def _check(capacity: float, refill: float) -> None:
    if not (capacity >= 1 and refill > 0):
        raise ValueError(f"a bucket of {capacity} tokens refilled by {refill} a second grants nothing")


class MessageRate:
    """Counts inbound messages in windows of one second.

    A window opens with the first message after the one before it has closed.

    Args:
        limit: Messages that one window may hold.
    """

    __slots__ = ("_count", "_limit", "_opened")

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._count = 0
        self._opened = -math.inf

    def exceeded(self, now: float) -> bool:
        """Count one message and tell whether its window now holds more than the limit.

        Args:
            now: Monotonic seconds.
        """
        if now - self._opened >= 1:
            self._opened = now
            self._count = 0
        self._count += 1
        return self._count > self._limit
