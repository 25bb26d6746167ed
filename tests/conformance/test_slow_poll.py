"""A client that polls on a slow line: while an answer is on its way it is neither slow nor idle."""

import asyncio
import json

import pytest

from tests.conformance.raw import enter, poller
from tests.support.eventually import eventually
from tests.support.figures import metric
from tests.support.raw_socket import head, wire
from tests.support.server import Server

ENV = {"MARKETSTREAM_DELIVERY__SLOW_TIMEOUT": "2", "MARKETSTREAM_DELIVERY__IDLE_TIMEOUT": "3"}
PATIENCE = 5.0
"""Seconds that an answer takes: more than a client may take nothing, or say nothing."""
CLOSED = 'ws_connections_closed_total{reason="slow_consumer"}'
NAMES = [f"{number}{'x' * 200}" for number in range(1_000)]
"""No symbols, so that the answer, which repeats them, is long."""


def length_of(start: bytes) -> int:
    """Bytes of the body behind the head of an answer."""
    return next(
        int(line.split(b":")[1]) for line in start.lower().split(b"\r\n") if b"content-length" in line
    )


@pytest.mark.parametrize("reads", [True, False])
async def test_a_poll_that_is_still_read_keeps_its_client(server: Server, *, reads: bool) -> None:
    """And one that is not read does not, though all of it may be in the kernel."""
    before = await metric(server, CLOSED)
    loop = asyncio.get_running_loop()
    async with poller(server.url) as client, wire(server.port, receive_buffer=4_096) as slow:
        assert await client.post(enter(server.token())) == 200
        while not any("connected" in packet for packet in await client.poll()):
            pass
        target = f"/socket.io/?EIO=4&transport=polling&sid={client.sid}"
        await slow.send(head(target, {}))
        call = "42/market-data,7" + json.dumps(["subscribe", {"symbols": NAMES}])
        assert await client.post(call) == 200
        if not reads:
            await eventually(lambda: closed_more(server, before), 10, "a client that is closed")
            return
        size, length, started = length_of(await slow.read_head()), 0, loop.time()
        while length < size:
            length += len(await slow.read())
            if loop.time() - started < PATIENCE:
                # As a slow line would.
                await asyncio.sleep(0.5)
        assert loop.time() - started > PATIENCE
        assert await metric(server, CLOSED) == before
        assert await client.post("3") == 200


async def closed_more(server: Server, before: float) -> bool:
    """Whether another client was closed as slow."""
    return await metric(server, CLOSED) > before
