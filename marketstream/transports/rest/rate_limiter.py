"""Limit how often one user may read.

Promises a bounded memory: of more users than it can hold those who have been quiet longest are forgotten, and
begin anew with a full bucket.
"""

from math import ceil

from cachetools import LRUCache
from multidict import istr

from marketstream.core.delivery.bucket import TokenBucket
from marketstream.core.delivery.entitlements import Principal
from marketstream.errors import RateLimitedError
from marketstream.ports import Clock

MOST_USERS = 50_000

_LIMIT, _REMAINING, _RESET = (istr(f"RateLimit-{name}") for name in ("Limit", "Remaining", "Reset"))

Headers = dict[str, str]
_User = tuple[str, str]


class UserRateLimiter:
    """See the module.

    Args:
        clock: Time.
        most_users: Users it remembers.
    """

    def __init__(self, *, clock: Clock, most_users: int = MOST_USERS) -> None:
        self._clock = clock
        self._buckets: LRUCache[_User, TokenBucket] = LRUCache(most_users)

    def __len__(self) -> int:
        return len(self._buckets)

    def spend(self, who: Principal) -> tuple[Headers, RateLimitedError | None]:
        """Take one call from a user's allowance.

        Returns:
            Headers that tell the user how much is left, and the error to answer with when there was nothing.
        """
        capacity, refill = who.plan.rate_capacity, who.plan.rate_refill
        bucket, now = self._bucket(who), self._clock.now()
        # A user with tokens of two plans has one allowance, not two.
        bucket.resize(capacity, refill, now)
        wait = bucket.take(now)
        left = bucket.left
        headers: Headers = {
            _LIMIT: str(int(capacity)),
            _REMAINING: str(int(left)),
            _RESET: str(ceil((capacity - left) / refill)),
        }
        return headers, RateLimitedError(ceil(wait * 1000)) if wait > 0 else None

    def _bucket(self, who: Principal) -> TokenBucket:
        key = who.tenant, who.user
        try:
            return self._buckets[key]
        except KeyError:
            bucket = self._buckets[key] = TokenBucket(who.plan.rate_capacity, who.plan.rate_refill)
            return bucket
