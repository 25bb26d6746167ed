"""A client whose line is slow gets its pong and its answers while prices flow: they go before prices.

Stock clients with a keepalive leave when their ping is not answered in time (RFC 6455, 5.5.2).
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.conformance.raw import enter, say
from tests.support.eventually import eventually
from tests.support.figures import metric
from tests.support.raw_socket import PING, PONG, UPGRADE, Wire, head, masked, wire
from tests.support.server import Server, serving

SYMBOLS = [f"SYM{number}" for number in range(100)]
PUBLISHED = "frames_published_total"
IN_FLIGHT = 256 * 1024
"""Bytes that may be on their way when a client begins to read again: one write, and what kernels hold."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that publishes half a megabyte a second."""
    with serving(feeds=("synthetic?symbols=SYM*100&rate=20",)) as running:
        yield running


@asynccontextmanager
async def watching(server: Server, edge: str, mode: str) -> AsyncIterator[Wire]:
    """A client that watches everything, and whose kernel holds next to nothing."""
    token = server.token(user=f"{edge}-{mode}")
    async with wire(server.port, 4096) as client:
        if edge == "engine":
            await client.upgrade()
            await client.say(enter(token))
            await client.say(say("subscribe", {"symbols": SYMBOLS, "mode": mode}, ack=0))
            await client.packets_to("43/market-data,0")
        else:
            await client.send(head("/ws", {**UPGRADE, "Authorization": f"Bearer {token}"}))
            await client.read_head()
            call = {"action": "subscribe", "symbols": SYMBOLS, "high_frequency": mode == "every"}
            await client.say(json.dumps(call))
            assert b"subscribed" in (await client.frame() or b"")
        yield client


def is_answer(payload: bytes) -> bool:
    """Whether a message answers the call `ping`, in either protocol."""
    return payload.startswith(b"43/market-data,7[") or b'"request_id":7' in payload


@pytest.mark.parametrize("mode", ["latest", "every"])
@pytest.mark.parametrize("edge", ["engine", "plain"])
async def test_a_client_that_reads_late_finds_its_pong_and_its_answer_before_prices(
    server: Server, edge: str, mode: str
) -> None:
    """Of several pings the latest is answered; nothing that was written before can be overtaken."""
    async with watching(server, edge, mode) as client:
        enough = await metric(server, PUBLISHED) + 4_000

        async def published() -> bool:
            return await metric(server, PUBLISHED) >= enough

        await eventually(published, 20, "more prices than any buffer holds")
        await client.send(b"".join(masked(b"ping %d" % number, 0x80 | PING) for number in range(3)))
        if edge == "engine":
            await client.say("2engine", say("ping", {}, ack=7))
        else:
            await client.say(json.dumps({"action": "ping", "request_id": 7}))
        seen, size = await until_answered(client)
        assert seen == ["3engine", "ping 2", "answer"][edge == "plain" :]
        assert size < IN_FLIGHT


async def until_answered(client: Wire) -> tuple[list[str], int]:
    """Pongs and the answer in the order in which they came, and how many bytes of payload came by then."""
    seen: list[str] = []
    size = 0
    while "answer" not in seen:
        first, payload = await client._frame()
        assert first, "the server closed"
        size += len(payload)
        if first & 0x0F == PONG or payload == b"3engine":
            seen.append(payload.decode())
        elif is_answer(payload):
            seen.append("answer")
    return sorted(seen[:-1]) + seen[-1:], size
