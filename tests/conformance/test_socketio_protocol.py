"""What the document of Socket.IO's protocol, version 5, demands of a server, demand by demand.

https://github.com/socketio/socket.io-protocol. Where this server does otherwise, docs/protocol.md says so in
the sentence that stands here.
"""

import asyncio
import json
from pathlib import Path

import pytest

from tests.conformance.raw import PREFIX, enter, poller, raw_socket, say
from tests.support.server import Server

ENV = {"MARKETSTREAM_DELIVERY__CONNECT_TIMEOUT": "1"}
DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
EXCEPTIONS = [
    "The only namespace is `/market-data`; the main one is refused like any other, and `data.code` says why.",
    "`41/market-data,` ends the connection and not only the namespace, as there is no other;",
    "is answered, by the acknowledgement where there is an id and by `error` where there is none",
    "Binary messages are refused where they are announced; their bytes are passed over.",
]


@pytest.mark.parametrize("sentence", EXCEPTIONS)
def test_each_exception_has_its_sentence_in_the_document(sentence: str) -> None:
    assert sentence in " ".join(DOCUMENT.read_text().split())


# Connection to a namespace


async def test_a_namespace_is_entered_with_a_payload(server: Server) -> None:
    """CONNECT is answered by CONNECT with an id of the Socket.IO session, which is not Engine.IO's."""
    async with raw_socket(server.url) as socket:
        engine = json.loads((await socket.read_to("0"))[1:])["sid"]
        await socket.send(enter(server.token()))
        answer = json.loads((await socket.read_to("40/market-data,")).partition(",")[2])
        assert set(answer) == {"sid"}
        assert answer["sid"] != engine


@pytest.mark.parametrize("packet", ["40/market-data,", "40/market-data", "40/market-data?version=1,"])
async def test_a_refused_connection_is_told_by_connect_error(server: Server, packet: str) -> None:
    """Here for want of a token; the comma may be left out where nothing follows."""
    async with raw_socket(server.url) as socket:
        await socket.send(packet)
        answer = json.loads((await socket.read_to("44/market-data,")).partition(",")[2])
        assert set(answer) == {"message", "data"}
        assert answer["data"]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        ("40", "44{"),
        ('40{"token":"123"}', "44{"),
        ("40/random", "44/random,{"),
        ("40/random,", "44/random,{"),
        ('40/random,{"token":"123"}', "44/random,{"),
    ],
)
async def test_an_unknown_namespace_is_refused_in_its_name(server: Server, packet: str, answer: str) -> None:
    async with raw_socket(server.url) as socket:
        await socket.send(packet)
        told = await socket.read_to("44")
        assert told.startswith(answer)
        assert json.loads(told[told.index("{") :])["message"] == "Invalid namespace"
        await socket.send(enter(server.token()))
        await socket.read_to("40/market-data,")


@pytest.mark.parametrize(
    "packet", ["4abc", "4", "42", '42/market-data,["ping"]', "41/market-data,", "43/market-data,1[]", "49"]
)
async def test_who_does_not_begin_with_connect_is_closed_at_once(server: Server, packet: str) -> None:
    async with raw_socket(server.url) as socket:
        await socket.send(packet)
        packets = await socket.read_to_end()
        assert [each for each in packets if not each.startswith("0")] == []
        assert socket.close_code == 1002


async def test_who_sends_nothing_is_closed_after_a_while(server: Server) -> None:
    async with raw_socket(server.url) as socket:
        await socket.read_to_end()
        assert socket.close_code == 1008


# Sending and receiving data


@pytest.mark.parametrize("arguments", ["", ",{}", ",null", ",1", ',"2"', ',{"3":[true]}'])
async def test_each_event_with_an_id_is_acknowledged_with_that_id(server: Server, arguments: str) -> None:
    """The payload of an acknowledgement is a list."""
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket.send(f'{PREFIX}456["ping"{arguments}]')
        ack = await socket.read_to("43/market-data,456")
        assert isinstance(json.loads(ack.removeprefix("43/market-data,456")), list)


@pytest.mark.parametrize("ident", ["0", "7", "007", "12345678901234567890"])
async def test_an_id_is_any_number_of_the_client(server: Server, ident: str) -> None:
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket.send(f'{PREFIX}{ident}["ping",{{}}]')
        await socket.read_to(f"43/market-data,{int(ident)}[")


async def test_by_polling_it_is_the_same(server: Server) -> None:
    async with poller(server.url) as client:
        await client.post(enter(server.token()), say("ping", {}, ack=456))
        packets: list[str] = []
        while not any(packet.startswith("43/market-data,456[") for packet in packets):
            packets += await client.poll()


async def test_an_event_with_attachments_is_refused_by_its_acknowledgement(server: Server) -> None:
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket.send('452-/market-data,789["ping",{"_placeholder":true,"num":0}]')
        await socket._socket.send_bytes(bytes([1, 2, 3]))
        await socket._socket.send_bytes(bytes([4, 5, 6]))
        assert '"INVALID_MESSAGE"' in await socket.read_to("43/market-data,789[")
        await socket.send(say("ping", {}, ack=1))
        assert '"pong"' in await socket.read_to("43/market-data,1[")


@pytest.mark.parametrize(
    "packet",
    ["4abc", "42/market-data,{}", "42/market-data,", '42/market-data,abc["ping"]', "49/market-data,", "4"],
)
async def test_what_is_no_event_is_answered_by_an_error(server: Server, packet: str) -> None:
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket.send(packet)
        assert '"INVALID_MESSAGE"' in await socket.read_to(f'{PREFIX}["error"')
        await socket.send(say("ping", {}, ack=1))
        await socket.read_to("43/market-data,1[")


# Acknowledgement


@pytest.mark.parametrize(
    "packet",
    [
        '461-/market-data,5[{"_placeholder":true,"num":0}]',
        "460-/market-data,5[]",
        '46/market-data,5["x"]',
        '43/market-data,5["x"]',
        "43/market-data,5[]",
        '43/market-data,5{"no":"list"}',
        '44/market-data,5{"message":"x"}',
    ],
)
async def test_an_acknowledgement_of_a_client_is_never_acknowledged(server: Server, packet: str) -> None:
    """An ACK with that id would be the answer to a call that the client is waiting for itself."""
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket.send(packet, say("ping", {}, ack=6))
        await socket.read_to("43/market-data,6[")
        assert [each for each in socket.packets if each.startswith(("43/market-data,5", "46"))] == []


# Disconnection


@pytest.mark.parametrize("packet", ["41/market-data,", "41/market-data"])
async def test_a_client_that_leaves_is_answered_by_the_end_of_its_connection(
    server: Server, packet: str
) -> None:
    async with raw_socket(server.url, token=server.token()) as socket:
        before = len(socket.packets)
        await socket.send(packet)
        assert (await socket.read_to_end())[before:] == []
        assert socket.close_code == 1000


async def test_leaving_a_namespace_one_is_not_in_ends_nothing(server: Server) -> None:
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket.send("41", "41/random,")
        for _ in range(2):
            await socket.read_to(f'{PREFIX}["error"')
        await socket.send(say("ping", {}, ack=1))
        await socket.read_to("43/market-data,1[")


async def test_a_client_that_left_by_polling_may_come_back(server: Server) -> None:
    async with poller(server.url) as client:
        await client.post(enter(server.token(user="again")))
        await client.poll()
        assert await client.post("41/market-data,") == 200
    async with asyncio.timeout(10), raw_socket(server.url, token=server.token(user="again")):
        pass
