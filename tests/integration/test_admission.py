"""Connections that nobody has let in: what they hold is little, however many there are.

Whoever reaches the port can open them. They come here from threads, on a few connections that are kept, as
fast as the server answers; what it weighs is looked at from outside.
"""

import asyncio
from threading import Thread

from tests.conformance.raw import Poller, enter, poller, raw_socket
from tests.support.eventually import eventually
from tests.support.figures import memory, metric
from tests.support.flood import flood
from tests.support.raw_socket import head, wire
from tests.support.server import Server, running_server

MEGABYTE = 1024 * 1024
MOST = 2_000
WAITING = "ws_unadmitted_connections"
EVICTED = 'ws_handshakes_refused_total{code="EVICTED"}'
HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
LARGE = {f"X-Large-{number}": "x" * 4_000 for number in range(5)} | {"Authorization": "Bearer " + "t" * 7_000}
FROM_ELSEWHERE = {"X-Forwarded-For": "198.51.100.7"}


async def flooded(server: Server, count: int, headers: dict[str, str]) -> None:
    """So many handshakes by polling, from four connections."""
    request = head(HANDSHAKE, headers, "GET")
    await asyncio.gather(*(asyncio.to_thread(flood, server.port, request, count // 4) for _ in range(4)))


async def test_ten_thousand_handshakes_with_large_headers_hold_little_memory() -> None:
    async with running_server(env={"MARKETSTREAM_DELIVERY__CONNECT_TIMEOUT": "10"}) as server:
        await flooded(server, 400, {})
        before = memory(server)
        await flooded(server, 10_000, LARGE)
        assert memory(server) - before < 30 * MEGABYTE
        assert await metric(server, WAITING) <= MOST
        assert await metric(server, EVICTED) >= 1_000
        assert len(await server.logged("unadmitted_evicted")) == 1
        await eventually(lambda: nobody_waits(server), 20)
        await eventually(lambda: memory(server) - before < 15 * MEGABYTE, 10, "memory that is back")


async def nobody_waits(server: Server) -> bool:
    """Whether all connections are admitted or gone."""
    return not await metric(server, WAITING)


async def test_an_honest_client_gets_in_while_others_flood(server: Server) -> None:
    """It comes from another address, and needs its time between one step and the next."""
    request = head(HANDSHAKE, LARGE | FROM_ELSEWHERE, "GET")
    threads = [Thread(target=flood, args=(server.port, request, 1_500)) for _ in range(2)]
    async with poller(server.url) as slow:
        for thread in threads:
            thread.start()
        async with raw_socket(server.url, token=server.token()):
            await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
        assert await metric(server, WAITING) >= 1_000
        assert await slow.post(enter(server.token())) == 200
        assert (await slow.poll())[0].startswith("40/market-data")


async def test_who_is_not_let_in_may_say_as_much_as_a_token_needs(server: Server) -> None:
    """A long message is for those who are known."""
    long = '42/market-data,["ping",{"x":"' + "x" * 20_000 + '"}]'
    async with poller(server.url) as stranger:
        assert await stranger.post(enter("t" * 8_000)) == 200
        assert await stranger.post(long) == 413
    async with raw_socket(server.url) as stranger:
        await stranger.send(long)
        await stranger.read_to_end()
        assert stranger.close_code == 1009
    async with raw_socket(server.url, token=server.token()) as known:
        await known.send(long)
        await known.fence()


async def test_what_waits_for_a_stranger_does_not_grow(server: Server) -> None:
    """It can cause answers without a token, and need not fetch them."""
    async with poller(server.url) as stranger:
        answers = [await stranger.post(*(enter("bad") for _ in range(10))) for _ in range(5)]
        assert answers[:3] == [200, 200, 200]
        assert 400 in answers


async def test_a_session_reads_one_body_at_a_time(server: Server) -> None:
    """Else one client could have as many of them read as it has connections."""
    async with poller(server.url) as client:
        async with wire(server.port) as other:
            await other.send(head(f"{HANDSHAKE}&sid={client.sid}", {"Content-Length": "100"}, "POST") + b"4")
            await eventually(lambda: refused(client), 5, "a second body that is refused")
        # The first was cut off in its middle, which is no fault of the server's.
        assert server.events("request_crashed") == []


async def refused(client: Poller) -> bool:
    """Whether a client may not post."""
    return await client.post("3") == 400
