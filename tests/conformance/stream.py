"""Server-sent events read by hand, line by line, so that nothing of the format is hidden."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.support.eventually import scaled
from tests.support.server import Server


@dataclass(frozen=True)
class Block:
    """What stands between two empty lines, without comments.

    Attributes:
        fields: Name and value of each line, in order.
    """

    fields: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> str | None:
        return dict(self.fields).get(name)

    @property
    def data(self) -> Any:
        """The JSON of `data`."""
        return json.loads(self["data"] or "null")

    @property
    def number(self) -> int:
        """The number of a price that was made by `market.price`."""
        return int(self.data["midPrice"])


class Reader:
    """One response that does not end.

    Attributes:
        response: The response itself.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def read(self) -> Block | None:
        """The next block; None when the stream has ended."""
        lines: list[str] = []
        async with asyncio.timeout(scaled(5)):
            while line := (await self.response.content.readline()).decode():
                if line == "\n":
                    return Block(tuple((name, value.removeprefix(" ")) for name, _, value in _parts(lines)))
                # A comment is no part of the event that follows.
                if not line.startswith(":"):
                    lines.append(line.removesuffix("\n"))
        assert not lines, f"the stream ended in the middle of a block: {lines}"
        return None

    async def event(self, name: str = "price") -> Block:
        """The next event of a name; others and comments are passed over.

        Raises:
            AssertionError: The stream ended before.
        """
        while (block := await self.read()) is not None:
            if block["event"] == name:
                return block
        raise AssertionError(f"the stream ended before {name}")


def _parts(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in lines]


@asynccontextmanager
async def request(
    server: Server,
    query: Mapping[str, str],
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """The response to a request for a stream.

    Args:
        server: Where to.
        query: The query.
        token: Token for the header; None for a good one, empty for none.
        headers: Further headers.
    """
    token = server.token() if token is None else token
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession(headers=sent | dict(headers or {})) as session,
        session.get(f"{server.url}/market-data/stream", params=query) as response,
    ):
        yield response


@asynccontextmanager
async def streaming(
    server: Server,
    *symbols: str,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    **query: str,
) -> AsyncIterator[Reader]:
    """A stream that is open inside the block, after its `retry` line."""
    asked = {"symbols": ",".join(symbols)} | query
    async with request(server, asked, token=token, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert (await response.content.readline()).startswith(b"retry: ")
        yield Reader(response)
