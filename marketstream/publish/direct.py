"""The road by HTTP: one connection to a server, kept open between batches, with a token."""

import http.client
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from marketstream.core.number import whole
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

PATH = "/api/v1/market/publish"

_ANSWER_SECONDS = 10
_PATIENCE = 10  # answers of "too fast" that are waited out, for one batch
_LONGEST_WAIT = 60

_REFUSALS: dict[int, MarketstreamError] = {
    401: AuthFailedError("the server does not accept the token"),
    403: NotEntitledError("the token does not allow publishing: it needs the scope market:publish"),
    413: PayloadTooLargeError("the server takes smaller batches only: its server.max_body is very small"),
}


class DirectChannel:
    """See `Road`.

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
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=_ANSWER_SECONDS)
        self._url = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        self._path = parts.path.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        """See `Road.send`."""
        body = render_body(lines)
        for _ in range(_PATIENCE):
            status, retry_after, answer = self._post(body)
            if status != http.HTTPStatus.TOO_MANY_REQUESTS:
                break
            time.sleep(min(whole(retry_after) or 1, _LONGEST_WAIT))
        if status != http.HTTPStatus.OK:
            raise _REFUSALS.get(status) or UnavailableError(f"{self._url} answered with status {status}")
        return parse_rejected(answer, len(lines))

    def close(self) -> None:
        """See `Road.close`."""
        self._connection.close()

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        """Status, Retry-After and body of the answer."""
        while True:
            kept = self._connection.sock is not None
            try:
                self._connection.request("POST", self._path, body, self._headers)
                response = self._connection.getresponse()
                return response.status, response.headers.get("Retry-After", ""), response.read()
            except (http.client.HTTPException, OSError) as error:
                self._connection.close()
                # A connection that was kept may have been closed by the server meanwhile; a new one was not.
                if not kept or isinstance(error, TimeoutError):
                    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    raise UnavailableError(f"cannot publish to {self._url}: {reason}") from error


_: type[Channel] = DirectChannel
