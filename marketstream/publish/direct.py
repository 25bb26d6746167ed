"""Send batches to a server by HTTP."""

import os
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientTimeout
from aiohttp_retry import RetryClient

from marketstream.errors import (
    AuthFailedError,
    ConfigurationError,
    MarketstreamError,
    NotEntitledError,
    PayloadTooLargeError,
    UnavailableError,
)
from marketstream.observability.text import mask_setting
from marketstream.publish.channel import Channel, parse_rejected, render_body
from marketstream.publish.line import Line
from marketstream.retry import Retry

PATH = "/api/v1/market/publish"

_ANSWER_SECONDS = 10
_ATTEMPTS = 10
_LONGEST_RETRY_AFTER = 60.0

# A server that was never met may not be one: its absence ends the command at once.
_FIRST = Retry(unanswered=False, attempts=_ATTEMPTS, first=1, longest=_LONGEST_RETRY_AFTER)
# Prices and quotes that arrive twice do no harm: the server drops what is not newer.
_LATER = Retry(repeatable=True, attempts=_ATTEMPTS, first=0.1, longest=_LONGEST_RETRY_AFTER)

_REFUSALS: dict[int, MarketstreamError] = {
    401: AuthFailedError("the server does not accept the token"),
    403: NotEntitledError("the token does not allow publishing: it needs the scope market:publish"),
    413: PayloadTooLargeError("the server takes smaller batches only: its server.max_body is very small"),
}


class DirectChannel:
    """See `Channel`.

    Args:
        url: Address of the server, such as `http://127.0.0.1:8080`.
        token: Token with the scope `market:publish`.

    Raises:
        ConfigurationError: The address or the token cannot be one.
    """

    def __init__(self, url: str, token: str) -> None:
        shown = mask_setting(url)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigurationError("--url", f"{shown} is not an address") from error
        if parts.scheme not in {"http", "https"} or not host:
            raise ConfigurationError("--url", f"{shown} is not an http or https address")
        if not token.isascii() or not token.isprintable():
            raise ConfigurationError("--token", "it is not a token")
        named = f"[{host}]" if ":" in host else host
        self._url = f"{parts.scheme}://{named}" + (f":{port}" if port else "")
        self._path = parts.path.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._client: RetryClient | None = None
        self._met = False

    async def send(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        """See `Channel.send`."""
        try:
            status, answer = await self._post(render_body(lines))
        except (ClientError, OSError) as error:  # a time-out is an OSError
            raise UnavailableError(f"cannot publish to {self._url}: {_reason(error)}") from error
        if status != HTTPStatus.OK:
            raise _REFUSALS.get(status) or UnavailableError(f"{self._url} answered with status {status}")
        return parse_rejected(answer, len(lines))

    async def close(self) -> None:
        """See `Channel.close`."""
        if self._client is not None:
            await self._client.close()

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        if self._client is None:
            self._client = RetryClient(headers=self._headers, timeout=ClientTimeout(total=_ANSWER_SECONDS))
        policy = _LATER if self._met else _FIRST
        async with self._client.post(
            self._url + self._path, data=body, retry_options=policy, allow_redirects=False
        ) as response:
            self._met = True
            return response.status, await response.read()


def _reason(error: Exception) -> str:
    """Return what went wrong in the words of the system, which say more than those of the library."""
    if isinstance(error, TimeoutError):
        return "timed out"
    number = error.errno if isinstance(error, OSError) else None
    # Those of a name that cannot be resolved are negative, and not the system's.
    return (number and number > 0 and os.strerror(number)) or str(error) or type(error).__name__


_: type[Channel] = DirectChannel
