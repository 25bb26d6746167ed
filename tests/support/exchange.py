"""Bytes to a server and what it answers until it closes, for requests that no client would send."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.support.eventually import scaled


@dataclass(frozen=True)
class Answer:
    """The first response on a connection.

    Attributes:
        status: Its status.
        headers: Its headers, names in lower case.
        body: What follows them.
        ended: Whether the server closed the connection.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    ended: bool

    @property
    def code(self) -> str:
        """The code of its error."""
        body: dict[str, Any] = json.loads(self.body)
        assert set(body) == {"error"}
        assert {"code", "message"} <= set(body["error"])
        return str(body["error"]["code"])


def request(
    target: str = "/healthz", *lines: str, method: str = "GET", origin: str = "http://localhost:3000"
) -> bytes:
    """The head of a request from a page."""
    return "\r\n".join(
        [f"{method} {target} HTTP/1.1", "Host: test", f"Origin: {origin}", *lines, "", ""]
    ).encode()


async def exchange(port: int, *parts: bytes, patience: float = 5, host: str = "127.0.0.1") -> Answer:
    """Sends bytes, each part once the one before is on its way, and reads until the server closes.

    Args:
        port: Of the server.
        parts: The bytes.
        patience: Seconds after which a connection counts as one that stays.
        host: Of the server.
    """
    reader, writer = await asyncio.open_connection(host, port)
    received, ended = b"", False
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(scaled(patience)):
            while data := await reader.read(65_536):
                received += data
            ended = True
    except TimeoutError:
        pass
    except ConnectionError:
        ended = True
    finally:
        writer.transport.abort()
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split(" ")[1]) if first else 0, headers, body, ended)
