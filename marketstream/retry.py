"""Decide when an outgoing HTTP request is sent again: one policy, on aiohttp-retry.

Promises that a request which may have arrived is sent again only where arriving twice does no harm, and that
nobody is asked again before the time that its `Retry-After` names. aiohttp-retry alone does neither.
"""

import math
import random
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from aiohttp import ClientConnectionError, ClientConnectorError, ClientResponse
from aiohttp_retry import ExponentialRetry

from marketstream.core.number import decimal

LONGEST_WAIT = 86_400.0
"""Seconds: what a server asks for beyond a day is not believed."""

JITTER = 0.1
"""Part of a wait by which clients are spread, so that they do not all come back at once."""

_REFUSED = 429
"""The one status that says that a request was not carried out."""

_TRANSIENT = frozenset({502, 503, 504})
_IDEMPOTENT = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})  # RFC 9110, section 9.2.2


class Retry(ExponentialRetry):
    """See the module. An answer that is final is returned as it is, and a last error is raised.

    Args:
        repeatable: Whether whatever is sent may arrive twice. Otherwise a request is sent again only where no
            connection was made, where it was refused with 429, and where its method is idempotent.
        unanswered: Whether to go on where there was no answer; otherwise the first loss is final.
        attempts: How often a request is sent at most.
        first: Seconds before the second time; doubled each time.
        most: Seconds of the longest such wait.
        longest: Seconds that a `Retry-After` may name; an answer that names more is final.
        chance: Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        *,
        repeatable: bool = False,
        unanswered: bool = True,
        attempts: int = 3,
        first: float = 0.25,
        most: float = 2.0,
        longest: float = 60.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        lost = ClientConnectionError if repeatable else ClientConnectorError
        super().__init__(
            attempts=attempts,
            start_timeout=first,
            max_timeout=most,
            exceptions={lost} if unanswered else set(),
            retry_all_server_errors=False,
            evaluate_response_callback=self._is_final,
        )
        self._repeatable = repeatable
        self._longest = longest
        self._chance = chance

    def get_timeout(self, attempt: int, response: ClientResponse | None = None) -> float:
        """Return the seconds to wait before a request is sent again.

        Args:
            attempt: How often it was sent, from 1.
            response: What was answered; None for nothing.
        """
        wait = super().get_timeout(attempt - 1)
        if response is not None:
            asked = _asked(response)
            wait = wait if asked is None else asked
            # aiohttp-retry keeps what it does not return, and the connection with it.
            response.release()
        return wait * (1 + JITTER * self._chance())

    async def _is_final(self, response: ClientResponse) -> bool:
        """Return whether an answer is not worth another attempt."""
        if (_asked(response) or 0) > self._longest:
            return True
        if response.status == _REFUSED:
            return False
        return response.status not in _TRANSIENT or not (self._repeatable or response.method in _IDEMPOTENT)


def retry_after(value: str | None, wall_ms: int) -> float | None:
    """Return seconds to wait as a `Retry-After` says, at most a day; None when it does not.

    Args:
        value: Seconds, or a date as of RFC 9110.
        wall_ms: Epoch milliseconds.
    """
    if value is None:
        return None
    seconds = decimal(value.strip())
    if seconds is None:
        try:
            seconds = _until(value, wall_ms)
        except (ValueError, OverflowError):
            return None
    elif seconds < 0:
        return None
    return min(max(0.0, seconds), LONGEST_WAIT) if math.isfinite(seconds) else LONGEST_WAIT


def _asked(response: ClientResponse) -> float | None:
    return retry_after(response.headers.get("Retry-After"), time.time_ns() // 1_000_000)


def _until(value: str, wall_ms: int) -> float:
    found = parsedate_to_datetime(value)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() - wall_ms / 1000
