"""Server processes that meet through one Redis."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from tests.conformance.raw import RawSocket, say
from tests.support.eventually import eventually
from tests.support.server import Server, running_server


@asynccontextmanager
async def gateways(
    bus: str,
    count: int = 2,
    *,
    program: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    owner: bool = True,
) -> AsyncIterator[list[Server]]:
    """Processes on one bus, all of them ready inside the block.

    Args:
        bus: URL of the bus.
        count: How many.
        program: What a new Python runs; None for forks of one that has imported the server.
        env: Settings by their environment names.
        owner: Whether the first of them feeds the market; otherwise somebody else does already.
    """
    async with AsyncExitStack() as stack:
        up: list[Server] = []
        for number in range(count):
            server = await stack.enter_async_context(running_server("--bus", bus, program=program, env=env))
            up.append(server)
            if owner and number == 0:
                await eventually(lambda server=server: server.events("lease_taken"), 10, "the lease")  # type: ignore[misc]
        for server in up:
            await eventually(lambda server=server: is_ready(server), 10, "readiness")  # type: ignore[misc]
        yield up


async def readiness(server: Server) -> dict[str, Any]:
    """What `/readyz` says, with its `code`."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/readyz") as answer:
        found: dict[str, Any] = await answer.json()
        return found | {"code": answer.status}


async def is_ready(server: Server) -> bool:
    """Whether `/readyz` answers 200."""
    code: int = (await readiness(server))["code"]
    return code == 200


async def subscribe(socket: RawSocket, *symbols: str, **options: Any) -> list[dict[str, Any]]:
    """Subscribes and returns the prices of the snapshot, which comes after the acknowledgement."""
    start = len(socket.packets)
    await socket.send(say("subscribe", {"symbols": list(symbols), **options}, 7))
    await socket.read_to("43/market-data,7")
    await socket.read_to('42/market-data,["snapshot"')
    assert not [name for name, _ in events_since(socket, start) if name == "price"]
    snapshot: dict[str, Any] = socket.events[-1][1]
    return list(snapshot["prices"])


def events_since(socket: RawSocket, start: int) -> list[tuple[str, Any]]:
    """Events among the packets after the first `start`."""
    later = RawSocket.__new__(RawSocket)
    later.packets = socket.packets[start:]
    return later.events


async def next_price(socket: RawSocket, number: float) -> dict[str, Any]:
    """Reads until the price with this middle."""
    while True:
        await socket.read_to('42/market-data,["price"')
        price: dict[str, Any] = socket.events[-1][1]
        if price["midPrice"] == number:
            return price


async def next_event(socket: RawSocket, name: str) -> Any:
    """Reads until an event and returns its payload."""
    await socket.read_to(f'42/market-data,["{name}"')
    return socket.events[-1][1]
