"""Send the HTTP requests of all providers.

A question is one GET; aiohttp sends it again only where a connection is cut before any answer, as idle ones
are. What becomes of it is told by the errors of `errors`: no answer in time, no connection or a status of 5xx
(worth asking again); 429 (not before its `Retry-After`); any other status than 200 (not worth it). An error
says no more than the status: the address holds the key of some vendors, and so may the answer. Redirections
are not followed, since they would carry the key elsewhere.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import ClassVar, Self, TypeVar

import aiohttp

from marketstream.errors import (
    ProviderDataError,
    ProviderError,
    ProviderQuotaError,
    ProviderRefusedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from marketstream.plugins.provider import ProviderContext, ProviderGuard
from marketstream.ports import Clock
from marketstream.providers.guard import EVERYTHING
from marketstream.retry import retry_after

T = TypeVar("T")

MAX_BYTES = 16 * 1024 * 1024
"""Longest answer that is read: half a century of daily candles is a fifth of it."""

_OK, _NOT_FOUND, _TIMEOUT, _TOO_MANY, _SERVER_ERROR = 200, 404, 408, 429, 500


class HttpClient:
    """Sends questions; connections are shared and made when first needed.

    Args:
        clock: Time.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def get(self, vendor: str, question: "Question", timeout: float) -> bytes:  # noqa: ASYNC109  # a setting
        """Ask once.

        Args:
            vendor: Whom, for errors.
            question: What.
            timeout: Seconds until the whole answer must be here.

        Raises:
            ProviderError: There is no answer that could be read; see the module.
        """
        try:
            async with (
                asyncio.timeout(timeout),
                self._open().get(
                    question.url, params=question.params, headers=question.headers, allow_redirects=False
                ) as response,
            ):
                status = response.status
                if status == _OK or (status == _NOT_FOUND and question.reads_not_found):
                    return await _read(vendor, response)
                wait = retry_after(response.headers.get("Retry-After"), self._clock.wall_ms())
        except TimeoutError:
            raise ProviderTimeoutError(vendor, f"it did not answer within {timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The cause would show the address, and the key in it.
            raise ProviderUnavailableError(vendor, f"no connection: {type(error).__name__}") from None
        raise _refusal(vendor, status, wait)

    async def aclose(self) -> None:
        """Close all connections; nothing can be asked after."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"Accept": "application/json"})
        return self._session


@dataclass(frozen=True, slots=True)
class Question:
    """A GET.

    Attributes:
        url: Where, without query.
        params: The query.
        headers: Beside the usual ones.
        reads_not_found: Whether the body of a 404 says what was not found.
    """

    url: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    reads_not_found: bool = False


class HttpProvider:
    """A vendor that is asked over HTTP with a key.

    Args:
        key: Its key; without one it is not configured, and refuses every question.
        base_url: Where its paths begin.
        client: Sends the questions.
        guard: Stands before them.
        clock: Time.
    """

    name: ClassVar[str]
    offers: frozenset[str] = EVERYTHING

    def __init__(
        self, *, key: str | None, base_url: str, client: HttpClient, guard: ProviderGuard, clock: Clock
    ) -> None:
        self._key = key
        self._base_url = base_url.rstrip("/")
        self._client = client
        self._clock = clock
        self.guard = guard

    @property
    def configured(self) -> bool:
        """Whether there is a key."""
        return self._key is not None

    @classmethod
    def of(cls, context: ProviderContext, variable: str, base_url: str) -> Self:
        """Make it with connections of its own, as a plug-in.

        Args:
            context: What factories are given.
            variable: Where its key is.
            base_url: Where its paths begin, unless the settings say otherwise.
        """
        return cls(
            key=context.secret(variable) or None,
            base_url=context.base_url or base_url,
            client=HttpClient(clock=context.clock),
            guard=context.guard,
            clock=context.clock,
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    def today(self) -> date:
        """Return the day in UTC."""
        return datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC).date()

    async def ask(self, path: str, params: Mapping[str, str], read: Callable[[bytes], T]) -> T:
        """Ask once and reads the answer.

        Args:
            path: Behind the base URL.
            params: The query, without the key.
            read: Parser of the answer.

        Raises:
            ProviderError, UnknownSymbolError: As of the parser and of `HttpClient.get`.
        """
        if self._key is None:
            raise ProviderRefusedError(self.name, "there is no key for it")
        question = self._question(path, params, self._key)

        async def request() -> T:
            return read(await self._client.get(self.name, question, self.guard.timeout))

        return await self.guard.ask(request)

    def _question(self, path: str, params: Mapping[str, str], key: str) -> Question:
        """Return where the vendor wants its key: in the query, unless it says otherwise."""
        return Question(self._base_url + path, {**params, "apikey": key}, {})


async def _read(vendor: str, response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ProviderDataError(vendor, f"its answer is longer than {MAX_BYTES} bytes")
    return bytes(body)


def _refusal(vendor: str, status: int, wait: float | None) -> ProviderError:
    text = f"it answered with status {status}"
    if status == _TOO_MANY:
        return ProviderQuotaError(vendor, text, wait)
    if status == _TIMEOUT or status >= _SERVER_ERROR:
        return ProviderUnavailableError(vendor, text)
    return ProviderRefusedError(vendor, text)
