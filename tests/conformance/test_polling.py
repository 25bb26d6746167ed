"""Engine.IO's long polling, one request at a time, and the move to a websocket at every moment there is."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from tests.conformance.market import new_symbol, numbers, price
from tests.conformance.raw import Poller, enter, event_of, poller, raw_socket, say
from tests.support.eventually import eventually
from tests.support.server import Server


def _values(packets: list[str]) -> list[int]:
    """The numbers of all prices in packets, those of snapshots too."""
    found: list[int] = []
    for packet in packets:
        match event_of(packet):
            case "price", best:
                found += numbers([best])
            case "snapshot", data:
                found += numbers(data["prices"])
    return found


async def _watch(client: Poller, token: str, symbol: str, mode: str) -> list[str]:
    """Enters, subscribes and returns the packets up to the snapshot."""
    await client.post(enter(token))
    await client.poll()
    await client.post(say("subscribe", {"symbols": [symbol], "mode": mode}, ack=1))
    return await client.poll()


@pytest.mark.parametrize("mode", ["every", "latest"])
async def test_a_move_to_a_websocket_keeps_every_promise_at_every_moment(server: Server, mode: str) -> None:
    """A value is published at each step of the upgrade: none is lost, repeated or out of order."""
    symbol, number = new_symbol(), 1
    await server.publish(prices=[price(symbol, number)])

    async def publish() -> None:
        nonlocal number
        number += 1
        await server.publish(prices=[price(symbol, number)])

    async with poller(server.url) as client:
        packets = await _watch(client, server.token(), symbol, mode)
        await publish()
        waiting = asyncio.create_task(client.poll())
        async with raw_socket(server.url, client.sid) as socket:
            await publish()
            await socket.send("2probe")
            assert await socket.read() == "3probe"
            packets += await waiting
            await publish()
            packets += await client.poll()
            await publish()
            await socket.send("5")
            await publish()
            await socket.fence()
            await publish()
            await socket.fence()
            got = _values(packets) + _values(socket.packets)
    assert number == 7
    assert got == (list(range(1, 8)) if mode == "every" else sorted(set(got)))
    assert got[-1] == 7


async def test_a_move_that_is_given_up_leaves_the_polling_session_alive(server: Server) -> None:
    symbol = new_symbol()
    async with poller(server.url) as client:
        await _watch(client, server.token(), symbol, "every")
        async with raw_socket(server.url, client.sid) as socket:
            await socket.send("2probe")
            assert await socket.read() == "3probe"
        await server.publish(prices=[price(symbol, 1)])
        packets: list[str] = []
        while not _values(packets):
            packets += await client.poll()
        assert _values(packets) == [1]


async def test_what_happens_between_two_polls_is_in_the_next(server: Server) -> None:
    symbol = new_symbol()
    async with poller(server.url) as client:
        await _watch(client, server.token(), symbol, "every")
        await server.publish(prices=[price(symbol, n) for n in (1, 2, 3)])
        assert _values(await client.poll()) == [1, 2, 3]


async def test_subscribing_again_is_taken_however_much_waits(server: Server) -> None:
    """A full lane of mode `every` is no reason to end a client that asks for what it has."""
    symbol = new_symbol()
    async with poller(server.url) as client:
        await _watch(client, server.token(), symbol, "every")
        for start in range(1, 1201, 400):
            await server.publish(prices=[price(symbol, n) for n in range(start, start + 400)])
        assert await client.post(say("subscribe", {"symbols": [symbol], "mode": "every"}, ack=2)) == 200
        await server.publish(prices=[price(symbol, 1201)])
        got: list[int] = []
        while 1201 not in got:
            got += _values(await client.poll())
        assert got == sorted(got)


async def test_a_message_above_the_limit_ends_its_sender_only(server: Server) -> None:
    big = say("ping", {"padding": "x" * 300_000})
    async with (
        raw_socket(server.url, token=server.token()) as socket,
        raw_socket(server.url, token=server.token()) as other,
        poller(server.url) as client,
    ):
        with suppress(ConnectionError):
            await socket.send(big)
        await socket.read_to_end()
        assert socket.close_code == 1009
        assert await client.post(big) == 413
        assert await client.post("2fence") == 400
        await other.fence()


async def test_no_poll_holds_more_packets_than_stock_clients_take(server: Server) -> None:
    """python-engineio refuses a payload of more than 16 packets, and drops its connection over it."""
    symbols = [new_symbol() for _ in range(40)]
    async with poller(server.url) as client:
        await client.post(enter(server.token()))
        await client.poll()
        await client.post(say("subscribe", {"symbols": symbols}, ack=1))
        await client.poll()
        await server.publish(prices=[price(symbol, 1) for symbol in symbols])
        sizes, values = [], 0
        while values < len(symbols):
            packets = await client.poll()
            sizes.append(len(packets))
            values += len(_values(packets))
        assert max(sizes) <= 16


async def test_a_token_that_ends_between_two_polls_is_told_in_the_next(server: Server) -> None:
    """The last word waits for the poll that fetches it."""
    async with poller(server.url) as client:
        await client.post(enter(server.token(user="brief", ttl=2)))
        await client.poll()
        await _closed(server, "token_expired")
        events = [found for packet in await client.poll() if (found := event_of(packet))]
        assert [data["code"] for name, data in events if name == "error"] == ["TOKEN_EXPIRED"]


async def _closed(server: Server, reason: str) -> None:
    def gone() -> bool:
        return any(entry["reason"] == reason for entry in server.events("websocket_connection_closed"))

    await eventually(gone, 5, f"a connection closed as {reason}")


async def test_two_polls_at_the_same_time_end_the_session(server: Server) -> None:
    async with poller(server.url) as client:
        await client.post(enter(server.token()))
        await client.poll()
        ends = await asyncio.gather(client.poll(), client.poll(), return_exceptions=True)
        [refused] = [end for end in ends if isinstance(end, AssertionError)]
        assert "two polls" in str(refused)
        assert ["1"] in ends
        assert await client.post("2fence") == 400


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"EIO": "3", "transport": "polling"}, 5),
        ({"EIO": "4", "transport": "carrier pigeon"}, 0),
        ({"EIO": "4", "transport": "polling", "sid": "nobody"}, 1),
        ({"EIO": "4", "transport": "websocket"}, 2),
    ],
)
async def test_a_request_that_breaks_the_protocol_is_answered_in_its_words(
    server: Server, query: dict[str, str], code: int
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/socket.io/", params=query) as answer,
    ):
        assert answer.status == 400
        body: dict[str, Any] = json.loads(await answer.text())
        assert (body["code"], bool(body["message"])) == (code, True)


async def test_a_page_of_another_origin_gets_in_only_when_it_is_listed(server: Server) -> None:
    """The default allows http://localhost:3000; both transports."""
    query = {"EIO": "4", "transport": "polling"}
    async with aiohttp.ClientSession() as session:
        for origin, status in (("http://localhost:3000", 200), ("https://evil.example", 403)):
            headers = {"Origin": origin}
            async with session.get(f"{server.url}/socket.io/", params=query, headers=headers) as answer:
                assert answer.status == status
                allowed = answer.headers.get("Access-Control-Allow-Origin")
                assert allowed == (origin if status == 200 else None)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(
                f"{server.url}/socket.io/?EIO=4&transport=websocket",
                headers={"Origin": "https://evil.example"},
            )
        assert refused.value.status == 403
