"""What the document of Engine.IO's protocol, version 4, demands of a server, demand by demand.

https://github.com/socketio/engine.io-protocol. Where this server does otherwise, docs/protocol.md says so in
the sentence that stands here.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conformance.raw import Poller, RawSocket, enter, poller, raw_socket, say
from tests.support.eventually import eventually
from tests.support.server import Server

ENV = {"MARKETSTREAM_SOCKETIO__PING_INTERVAL": "1", "MARKETSTREAM_SOCKETIO__PING_TIMEOUT": "1"}
MAX_PAYLOAD = 262_144
DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"

EXCEPTIONS = [
    "The server does not count a missing pong by itself: anything at all from the client within 120 s",
    "Binary messages are refused where they are announced; their bytes are passed over.",
    "A websocket may move a session by `5` without `2probe` before it.",
]


@asynccontextmanager
async def asking(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    """Requests to the Engine.IO path."""
    async with aiohttp.ClientSession(server.url) as session:
        yield session


async def status(server: Server, method: str = "GET", body: str | None = None, **query: str) -> int:
    """Status of the answer to a request."""
    async with (
        asking(server) as session,
        session.request(method, "/socket.io/", params=query, data=body) as answer,
    ):
        return answer.status


async def waiting_poll(client: Poller) -> asyncio.Task[list[str]]:
    """A poll that has reached the server."""
    poll = asyncio.create_task(client.poll())
    for _ in range(2):
        # What was sent before a request that has been answered has been read by then.
        assert await client.post("6") == 200
    return poll


async def ended(client: Poller) -> bool:
    """Whether a session is unknown to the server."""
    return await status_of_poll(client) == 400


async def status_of_poll(client: Poller) -> int:
    """Status of the answer to a poll."""
    path, query = client._target()
    async with aiohttp.ClientSession() as session, session.get(path, params=query) as answer:
        return answer.status


@pytest.mark.parametrize("sentence", EXCEPTIONS)
def test_each_exception_has_its_sentence_in_the_document(sentence: str) -> None:
    assert sentence in " ".join(DOCUMENT.read_text().split())


# Handshake


def assert_open(packet: str, upgrades: list[str]) -> None:
    """The first packet says who the client is and what to expect."""
    said: dict[str, Any] = json.loads(packet[1:])
    assert packet[0] == "0"
    assert isinstance(said.pop("sid"), str)
    assert said == {
        "upgrades": upgrades,
        "pingInterval": 1_000,
        "pingTimeout": 1_000,
        "maxPayload": MAX_PAYLOAD,
    }


async def test_a_session_opens_by_polling(server: Server) -> None:
    async with (
        asking(server) as session,
        session.get("/socket.io/", params={"EIO": "4", "transport": "polling"}) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        assert_open(await answer.text(), ["websocket"])


async def test_a_session_opens_by_websocket(server: Server) -> None:
    async with raw_socket(server.url) as socket:
        assert_open(await socket.read_to("0"), [])


BAD_QUERIES: list[dict[str, str]] = [
    {"transport": "polling"},
    {"EIO": "", "transport": "polling"},
    {"EIO": "abc", "transport": "polling"},
    {"EIO": "3", "transport": "polling"},
    {"EIO": "4"},
    {"EIO": "4", "transport": ""},
    {"EIO": "4", "transport": "abc"},
    {"EIO": "4", "transport": "polling", "sid": "nobody"},
]


@pytest.mark.parametrize("query", BAD_QUERIES, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_whose_query_lacks_something_is_400(
    server: Server, query: dict[str, str], method: str
) -> None:
    """Also one that belongs to a session."""
    assert await status(server, method, **query) == 400


@pytest.mark.parametrize("query", BAD_QUERIES, ids=str)
async def test_a_websocket_whose_query_lacks_something_is_closed(
    server: Server, query: dict[str, str]
) -> None:
    async with asking(server) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("/socket.io/", params=query)
        assert refused.value.status == 400


@pytest.mark.parametrize("missing", ["EIO", "transport"])
async def test_what_is_mandatory_is_so_in_each_request_of_a_session(server: Server, missing: str) -> None:
    async with poller(server.url) as client:
        _, query = client._target()
        del query[missing]
        assert await status(server, **query) == 400
        assert await status(server, "POST", "6", **query) == 400
        assert await client.post("6") == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD"])
async def test_only_a_get_opens_a_session(server: Server, method: str) -> None:
    assert await status(server, method, EIO="4", transport="polling") == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
async def test_a_session_takes_no_other_methods(server: Server, method: str) -> None:
    async with poller(server.url) as client:
        assert await status(server, method, **client._target()[1]) == 400
        assert await client.post("6") == 200


async def test_a_poll_that_names_the_other_transport_is_refused(server: Server) -> None:
    async with poller(server.url) as client:
        assert await status(server, EIO="4", transport="websocket", sid=client.sid) == 400
        assert await client.post("6") == 200


# Messages


async def test_a_post_of_one_packet_or_of_several_is_answered_by_ok_and_carried_out(server: Server) -> None:
    async with poller(server.url) as client, asking(server) as session:
        body = "\x1e".join([enter(server.token()), say("ping", {}, ack=1), say("ping", {}, ack=2)])
        query = client._target()[1]
        async with session.post("/socket.io/", params=query, data=body) as answer:
            assert (answer.status, await answer.text()) == (200, "ok")
        packets: list[str] = []
        while not any(packet.startswith("43/market-data,2[") for packet in packets):
            packets += await client.poll()
        acks = [packet[:16] for packet in packets if packet.startswith("43")]
        assert acks == ["43/market-data,1", "43/market-data,2"]


async def test_a_payload_may_hold_text_and_binary_packets(server: Server) -> None:
    """The text is carried out; the binary belongs to nothing that was announced."""
    async with poller(server.url) as client:
        assert await client.post(enter(server.token()), "bAQIDBA==", say("ping", {}, ack=1)) == 200
        packets: list[str] = []
        while not any(packet.startswith("43/market-data,1[") for packet in packets):
            packets += await client.poll()


async def test_a_websocket_carries_one_packet_in_each_frame(server: Server) -> None:
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket.send(say("ping", {}, ack=1), say("ping", {}, ack=2))
        await socket.read_to("43/market-data,2[")
        assert all("\x1e" not in packet for packet in socket.packets)


async def test_a_binary_frame_on_a_websocket_is_passed_over(server: Server) -> None:
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket._socket.send_bytes(bytes([1, 2, 3, 4]))
        await socket.send(say("ping", {}, ack=1))
        await socket.read_to("43/market-data,1[")


@pytest.mark.parametrize("body", ["abc", "", "9", "4", "\x1e", "6\x1eabc"])
async def test_a_payload_that_is_none_closes_the_session(server: Server, body: str) -> None:
    """`4` alone is a message, but no Socket.IO packet: a client that has not entered is closed for it."""
    async with poller(server.url) as client:
        assert await status(server, "POST", body, **client._target()[1]) in (200 if body == "4" else 400, 400)
        assert await ended(client)


@pytest.mark.parametrize("packet", ["abc", "", "9"])
async def test_a_frame_that_is_no_packet_closes_the_websocket(server: Server, packet: str) -> None:
    async with raw_socket(server.url) as socket:
        await socket.send(packet)
        await socket.read_to_end()
        assert socket.close_code == 1002


async def test_two_polls_at_the_same_time_close_the_session(server: Server) -> None:
    """The first is told by a close packet, the second by 400."""
    async with poller(server.url) as client:
        first = await waiting_poll(client)
        assert await status_of_poll(client) == 400
        assert await first in (["1"], ["2"])
        assert await ended(client)


async def test_two_posts_at_the_same_time_close_the_session(server: Server) -> None:
    async with poller(server.url) as client, asking(server) as session:
        refused = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"6"
            await refused.wait()
            yield b"\x1e6"

        async def another() -> bool:
            return await status(server, "POST", "6", **query) == 400

        query = client._target()[1]
        first = asyncio.create_task(session.post("/socket.io/", params=query, data=slowly()))
        await eventually(another, 5, "a refused post")
        refused.set()
        (await first).release()
        assert await ended(client)


# Heartbeat


async def test_pings_come_by_polling_and_pongs_are_taken(server: Server) -> None:
    async with poller(server.url) as client:
        for _ in range(3):
            # A poll that ends just before the next ping brings a NOOP.
            while (packets := await client.poll()) == ["6"]:
                pass
            assert packets == ["2"]
            assert await client.post("3") == 200


async def test_pings_come_by_websocket_and_pongs_are_taken(server: Server) -> None:
    async with raw_socket(server.url) as socket:
        for number in range(1, 4):
            await socket.read_to("2")
            assert socket.packets.count("2") == number
            await socket.send("3")


async def test_a_ping_of_a_client_is_answered_with_what_it_said(server: Server) -> None:
    async with raw_socket(server.url) as socket:
        await socket.send("2hello")
        await socket.read_to("3hello")


# Close


async def test_a_close_packet_ends_the_poll_that_waits_and_the_session(server: Server) -> None:
    async with poller(server.url) as client:
        poll = await waiting_poll(client)
        assert await client.post("1") == 200
        assert await poll in (["6"], ["2"])
        assert await ended(client)


async def test_a_close_packet_closes_the_websocket(server: Server) -> None:
    async with raw_socket(server.url) as socket:
        await socket.send("1")
        await socket.read_to_end()
        assert socket.close_code == 1000


# Upgrade


async def _probed(socket: RawSocket) -> None:
    await socket.send("2probe")
    await socket.read_to("3probe")


async def test_a_session_moves_from_polling_to_a_websocket(server: Server) -> None:
    async with poller(server.url) as client, raw_socket(server.url, sid=client.sid) as socket:
        poll = asyncio.create_task(client.poll())
        await _probed(socket)
        assert await poll in (["6"], ["2"])
        await socket.send("5", enter(server.token()))
        await socket.read_to("40/market-data,")


async def test_a_poll_that_comes_while_the_websocket_is_tried_ends_with_noop(server: Server) -> None:
    async with poller(server.url) as client, raw_socket(server.url, sid=client.sid) as socket:
        await _probed(socket)
        assert await client.poll() in (["6"], ["2"])
        await socket.send("5", "2moved")
        await socket.read_to("3moved")


async def test_after_the_move_requests_of_the_session_are_refused_and_disturb_nothing(server: Server) -> None:
    async with poller(server.url) as client, raw_socket(server.url, sid=client.sid) as socket:
        await socket.send("2probe", "5", "2moved")
        await socket.read_to("3moved")
        assert await status_of_poll(client) == 400
        assert await client.post("6") == 400
        await socket.send("2still")
        await socket.read_to("3still")


@pytest.mark.parametrize("moved", [True, False])
async def test_a_second_websocket_of_a_session_is_closed_and_disturbs_nothing(
    server: Server, *, moved: bool
) -> None:
    async with poller(server.url) as client, raw_socket(server.url, sid=client.sid) as socket:
        await socket.send("2probe", *(["5", "2moved"] if moved else []))
        await socket.read_to("3moved" if moved else "3probe")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with raw_socket(server.url, sid=client.sid):
                pass
        assert refused.value.status == 400
        await socket.send("2probe" if not moved else "2still")
        await socket.read_to("3probe" if not moved else "3still")
