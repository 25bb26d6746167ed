"""The TypeScript SDK's reader of event streams against a server that is not ours: aiohttp-sse."""

import json

import pytest
from aiohttp import web
from aiohttp_sse import sse_response
from pytest_aiohttp import AiohttpServer

from tests.conformance.market import price
from tests.support.node import Node

pytestmark = pytest.mark.usefixtures("sdk")


@pytest.mark.parametrize("sep", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
async def test_events_are_read_whatever_their_lines_end_with(
    aiohttp_server: AiohttpServer, node: Node, sep: str
) -> None:
    """With comments and blank lines between them, on one data line or several; and resumed by their ids."""
    resumed: list[str | None] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        async with sse_response(request, sep=sep, ping_interval=0.01) as response:
            resumed.append(response.last_event_id)
            first = len(resumed) * 10
            for number in range(first, first + 3):
                best = price("EUR/USD", number)
                text = json.dumps(best, indent=number % 2 or None)
                ident = f"EUR/USD-{best['timestamp']}@{number}"
                await response.send(text, event="price", id=ident, retry=1)
        return response

    app = web.Application()
    app.router.add_get("/market-data/stream", stream)
    server = await aiohttp_server(app)
    told = await node.run("reference.mjs", str(server.make_url("")), "6")
    sent = [price("EUR/USD", number)["timestamp"] for number in (10, 11, 12, 20, 21, 22)]
    assert [entry[1] for entry in told if entry[0] == "price"] == sent
    assert resumed == [None, f"EUR/USD-{sent[2]}@12"]
