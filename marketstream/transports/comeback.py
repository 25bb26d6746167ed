"""Answer a refused EventSource so that it tries again.

It is told why by the event `error`, and by `retry` when to try again: later each time, as a server that is
full or going down has no use for haste. Everybody else gets the status.
"""

from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web
from cachetools import TTLCache

from marketstream.errors import MarketstreamError
from marketstream.wire import messages, sse

LONGEST_MS: Final = 60_000
"""Milliseconds that a client is asked to wait at most."""

_REMEMBERED: Final = 10_000
_FORGOTTEN_AFTER: Final = 3 * LONGEST_MS / 1_000
_SPREAD: Final = 0.25
"""Part of a wait by which clients are spread, so that they do not all come back at once."""

_MOST_DOUBLINGS: Final = 16


class Comeback:
    """Counts how often each client was sent away.

    Args:
        retry_ms: Milliseconds that the first wait lasts.
        now: Monotonic seconds.
        chance: Gives numbers from 0 to 1.
    """

    def __init__(self, *, retry_ms: int, now: Callable[[], float], chance: Callable[[], float]) -> None:
        self._retry_ms = retry_ms
        self._chance = chance
        self._times: TTLCache[int, int] = TTLCache(_REMEMBERED, _FORGOTTEN_AFTER, now)

    def answer(self, request: web.Request, address: str, error: MarketstreamError) -> web.Response | None:
        """Return what makes the client come back; None where the status of the error does better.

        Args:
            request: What the client asked for.
            address: Where it is.
            error: Why it does not get that.
        """
        if not error.retryable or not is_event_source(request):
            return None
        # An EventSource always asks for the same, token and all.
        key = hash((address, request.path_qs))
        times = self._times.get(key, 0)
        self._times[key] = min(times + 1, _MOST_DOUBLINGS)
        wait = min(self._retry_ms * 2**times, LONGEST_MS) * (1 + _SPREAD * self._chance())
        why = messages.error(error.code, str(error) if error.public else "internal error")
        body = sse.UNCHUNKED.render((sse.retry(round(wait)), why))
        headers = {hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-cache, no-transform"}
        return web.Response(body=body, headers=headers | {"X-Accel-Buffering": "no"})


def is_event_source(request: web.Request) -> bool:
    """Return whether a request is an EventSource's, as the HTML standard has it make them.

    It takes nothing but an event stream; its token stands in the address, or it asks caches to stay out of
    it. Programs that name other types too, or put a token into a header, can read a status.
    """
    if request.headers.get(hdrs.ACCEPT, "").strip().lower() != "text/event-stream":
        return False
    return (
        hdrs.AUTHORIZATION not in request.headers
        or "no-cache" in request.headers.get(hdrs.CACHE_CONTROL, "").lower()
    )
