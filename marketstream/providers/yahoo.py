"""Ask Yahoo Finance over the library yfinance, in threads.

Yahoo answers only what looks like a browser that has its cookie and its crumb. The library's `YfData` sees to
both and is all that is used of it; what it brings is read by our own parser. It blocks, so it runs in a few
threads of its own, with a session of its own that cuts every request off in time. The library is loaded, in
a thread too, with the first question; without it this provider is not configured.

One question is one request, but for the cookie, and the second try that `YfData` makes with another cookie
when Yahoo answers 4xx.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import quote as escape

from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.errors import (
    ProviderDataError,
    ProviderError,
    ProviderQuotaError,
    ProviderRefusedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from marketstream.plugins.provider import ProviderContext, ProviderGuard, ProviderPlugin
from marketstream.ports import Clock, Provider
from marketstream.providers.guard import EVERYTHING
from marketstream.wire.vendors import yahoo_rest
from marketstream.wire.vendors.naming import require_possible

T = TypeVar("T")

THREADS = 4
"""Questions that can be under way together; others wait, and are gone when their asker is."""

_OK, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 200, 404, 429, 500
_FETCHES = {"1h": "60m"}

MakeSession = Callable[[float], Any]
"""Makes a session of curl_cffi in which no request takes longer than so many seconds."""


class Yahoo:
    """See `ports.Provider`.

    Args:
        base_url: Where its paths begin.
        guard: Stands before every question.
        clock: Time.
        make_session: Makes what the library sends its requests through; None: as a browser would.
    """

    name = yahoo_rest.NAME
    offers = EVERYTHING

    def __init__(
        self,
        *,
        base_url: str,
        guard: ProviderGuard,
        clock: Clock,
        make_session: MakeSession | None = None,
    ) -> None:
        self._installed = find_spec("yfinance") is not None
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._make_session = make_session or browser_session
        self._library: Any = None
        self._loading = Lock()
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="yahoo")
        self.guard = guard

    @property
    def configured(self) -> bool:
        """Whether the library is installed."""
        return self._installed

    async def quote(self, symbol: str) -> ProviderQuote:
        """See `ports.Provider.quote`."""
        params = {"symbols": _named(symbol), "formatted": "false"}
        return await self._ask("/v7/finance/quote", params, partial(yahoo_rest.quote, symbol=symbol))

    async def historical(self, symbol: str, period: str, interval: str) -> History:
        """See `ports.Provider.historical`."""
        params = {"range": period, "interval": _FETCHES.get(interval, interval)}
        read = partial(
            yahoo_rest.history, symbol=symbol, period=period, interval=interval, today=self._today()
        )
        return await self._ask(f"/v8/finance/chart/{_in_path(symbol)}", params, read)

    async def profile(self, symbol: str) -> Profile:
        """See `ports.Provider.profile`."""
        params = {"modules": "assetProfile,price", "formatted": "false"}
        path = f"/v10/finance/quoteSummary/{_in_path(symbol)}"
        return await self._ask(path, params, partial(yahoo_rest.profile, symbol=symbol))

    async def search(self, query: str, limit: int) -> tuple[Match, ...]:
        """See `ports.Provider.search`."""
        params = {"q": query, "quotesCount": str(limit), "newsCount": "0"}
        return await self._ask("/v1/finance/search", params, partial(yahoo_rest.matches, limit=limit))

    async def news(self, symbol: str, limit: int) -> tuple[Article, ...]:
        """See `ports.Provider.news`."""
        params = {"q": _named(symbol), "quotesCount": "0", "newsCount": str(limit)}
        return await self._ask("/v1/finance/search", params, partial(yahoo_rest.news, limit=limit))

    async def aclose(self) -> None:
        """Let go of the threads; one that waits for Yahoo ends within its time."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, path: str, params: Mapping[str, str], read: Callable[[bytes], T]) -> T:
        if not self._installed:
            raise ProviderRefusedError(self.name, "yfinance is not installed")

        async def request() -> T:
            answer = asyncio.get_running_loop().run_in_executor(self._threads, self._fetch, path, params)
            try:
                async with asyncio.timeout(self.guard.timeout):
                    return read(await answer)
            except TimeoutError:
                text = f"it did not answer within {self.guard.timeout:g} s"
                raise ProviderTimeoutError(self.name, text) from None

        return await self.guard.ask(request)

    def _fetch(self, path: str, params: Mapping[str, str]) -> bytes:
        """Return the body of an answer; in a thread.

        Raises:
            ProviderError: There is none that could be read.
        """
        try:
            response = self._loaded().get(
                self._base_url + path, params=dict(params), timeout=self.guard.timeout
            )
            status, body = int(response.status_code), bytes(response.content)
        except Exception as error:  # noqa: BLE001  # the library lets anything out, from curl's errors to KeyError
            raise _translated(error) from None  # the cause would show addresses with a crumb
        if status in (_OK, _NOT_FOUND):
            return body
        if status == _TOO_MANY:
            raise ProviderQuotaError(self.name, "it answered with status 429")
        kind = ProviderUnavailableError if status >= _SERVER_ERROR else ProviderRefusedError
        raise kind(self.name, f"it answered with status {status}")

    def _loaded(self) -> Any:  # noqa: ANN401  # of an untyped library
        with self._loading:
            if self._library is None:
                session = self._make_session(self.guard.timeout)
                self._library = import_module("yfinance.data").YfData(session=session)
            return self._library

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC).date()


def browser_session(timeout: float) -> Any:  # noqa: ANN401  # a session of an untyped library
    """Return a session that looks like a browser's and never waits longer than its time-out."""
    requests = import_module("curl_cffi.requests")

    class Hurried(requests.Session):  # type: ignore[misc, name-defined]  # known at run time only
        def request(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the parameters of curl_cffi
            return super().request(*args, **kwargs | {"timeout": timeout})

    return Hurried(impersonate="chrome")


def _translated(error: Exception) -> ProviderError:
    """Return the error that the library's exception means; by names, as the library may not be there."""
    names = {kind.__name__ for kind in type(error).__mro__}
    text = type(error).__name__
    if "YFRateLimitError" in names:
        return ProviderQuotaError(yahoo_rest.NAME, text)
    if "Timeout" in names or "TimeoutError" in names:
        return ProviderTimeoutError(yahoo_rest.NAME, text)
    if "OSError" in names or "YFException" in names:
        return ProviderUnavailableError(yahoo_rest.NAME, text)
    return ProviderDataError(yahoo_rest.NAME, f"the library failed: {text}")


def _named(symbol: str) -> str:
    """As it is called there: currency pairs without the slash and marked."""
    return f"{symbol.replace('/', '')}=X" if "/" in require_possible(symbol) else symbol


def _in_path(symbol: str) -> str:
    return escape(_named(symbol), safe="")


_: type[Provider] = Yahoo


def _build(context: ProviderContext) -> Yahoo:
    base_url = context.base_url or "https://query2.finance.yahoo.com"
    return Yahoo(base_url=base_url, guard=context.guard, clock=context.clock)


PLUGIN = ProviderPlugin(_build)
