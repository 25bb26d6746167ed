"""Everything a client should not send: each gets an answer or an end, and nobody else notices.

The hostile input is drawn from seeded generators, so a failure happens again. All the while an honest client
is connected and must keep getting prices, and the server must print no error of its own.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.conformance.raw import PREFIX, enter, poller, raw_socket, say
from tests.conformance.watcher import Watcher, watching
from tests.support.builders import HOSTILE
from tests.support.crowd import entered
from tests.support.eventually import eventually, scaled
from tests.support.figures import memory, metric
from tests.support.raw_socket import BINARY, CLOSE, ENGINE, PING, TEXT, UPGRADE, head, masked, wire
from tests.support.server import Server

FEEDS = ("synthetic?symbols=EUR/USD&rate=50",)
SEED = 20_260_101
BATCH = 300
MEGABYTE = 1024 * 1024
FIN = 0x80
NAMES = [
    *("subscribe", "unsubscribe", "subscriptions", "ping", "get_quote", "authenticate"),
    *("connect", "disconnect", "connect_error", "price", "snapshot", "connected", "error", "heartbeat"),
    *("on_message", "__init__", "", "x" * 5_000, "\x00", "tenant:acme", "newListener", "prototype"),
]
FIELDS = ["symbols", "symbol", "mode", "maxRate", "channels", "token", "__proto__", ""]
VALUES: list[object] = [
    *(None, True, -1, 0, 1.5, 1e308, 2**64 - 1, "", "every", "A", "\x00", "\u202e", "é" * 40, "S" * 10_000),
    *([], {}, [[]], [None], ["A", "A"], ["EUR/USD"], [1, "A"], ["*"], [""], {"a": []}, [{}], ["A"] * 1_001),
]


@pytest.fixture(autouse=True)
async def honest(server: Server) -> AsyncIterator[Watcher]:
    """A client that gets prices before and after, on the same connection, from a server that had no fault."""
    printed = len(server.log)
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": ["EUR/USD"]})
        await watcher.until("price")
        yield watcher
        count = len(watcher.named("price"))
        await watcher.until("price", count + 5)
        assert "disconnect" not in watcher.names
        assert faults(server.log[printed:]) == []


def faults(log: list[str]) -> list[str]:
    """Lines that the server should never print, whatever is sent to it."""
    marks = ("Traceback", '"exception"', "client_call_failed", "request_failed", '"level": "critical"')
    return [line for line in log if any(mark in line for mark in marks)]


def payload(draw: random.Random) -> object:
    """What may come with an event, likely or not."""
    if draw.random() < 0.3:
        return draw.choice(VALUES)
    return {draw.choice(FIELDS): draw.choice(VALUES) for _ in range(draw.randint(0, 3))}


def event(draw: random.Random, ack: str) -> str:
    """An event of any name with any arguments; now and then without a name, or with one that is none."""
    arguments: list[object] = [payload(draw) for _ in range(draw.choice((0, 1, 1, 1, 1, 2, 3)))]
    if draw.random() < 0.95:
        arguments.insert(0, draw.choice(NAMES) if draw.random() < 0.9 else draw.choice(VALUES))
    return f"{PREFIX}{ack}{json.dumps(arguments)}"


def damage(draw: random.Random, packet: str) -> str:
    """The packet with some of its characters lost, doubled or changed, but still text."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(packet) + 1)
        middle = draw.choice(
            ["", packet[at : at + 1] * 2, chr(draw.choice((0, 10, 34, 92, 0x7F, 0xE9, 0x1F600)))]
        )
        packet = packet[:at] + middle + packet[at + draw.randint(0, 2) :]
    return packet


def is_answer(packet: str) -> bool:
    """Whether a packet is one that a fault is answered with."""
    return packet.startswith((f'{PREFIX}["error"', "43/market-data,", "44"))


async def test_every_event_that_waits_for_an_answer_gets_one(server: Server) -> None:
    """Whatever its name and payload: one ack each, with the id it was given, or the end."""
    draw = random.Random(SEED)
    for _ in range(4):
        async with raw_socket(server.url, token=server.token()) as socket:
            ids = draw.sample(range(10**15), BATCH)
            await socket.send(*(event(draw, str(ident)) for ident in ids))
            await socket.fence()
            acks = [packet[15 : packet.index("[")] for packet in socket.packets if packet.startswith("43")]
            assert acks == [str(ident) for ident in ids]


async def test_an_event_that_cannot_be_and_waits_for_nothing_is_answered_by_an_error(server: Server) -> None:
    """`error` with a code; forged events of the server, and states of the client, are unknown events."""
    async with raw_socket(server.url, token=server.token()) as socket:
        for name in ("connect", "disconnect", "connect_error", "price", "__init__", "no such", ""):
            await socket.send(say(name, {"code": "FORGED"}))
            assert '"UNKNOWN_EVENT"' in await socket.read_to(f'{PREFIX}["error"')
        for bad in ("[]", "{}", "true", "[null]", "[[]]", "[", '"subscribe"', '["subscribe",', "\x00"):
            await socket.send(PREFIX + bad)
            await socket.read_to(f'{PREFIX}["error"')
        for text in (text.decode(errors="ignore") for text in HOSTILE):
            # Behind a space no digit is taken for an id.
            await socket.send(f"{PREFIX} {text}")
            await socket.read_to(f'{PREFIX}["error"')


@pytest.mark.parametrize("way", ["verified", "unverified"])
async def test_damaged_packets_get_an_answer_or_an_end(server: Server, way: str) -> None:
    """Also from a client that is not verified: it gets no event, whatever it says."""
    draw = random.Random(SEED + len(way))
    sent = 0
    while sent < 2 * BATCH:
        async with wire(server.port) as client:
            await (client.enter(server.token()) if way == "verified" else client.upgrade())
            for _ in range(BATCH // 4):
                sent += 1
                whole = [event(draw, draw.choice(("", "7"))), enter("not a token"), "2probe", "6", "451-"]
                await client.say(damage(draw, draw.choice(whole)), "2fence")
                packets = await client.packets_to("3fence")
                if way == "unverified":
                    assert all(packet.startswith(("0", "44", "3", "1")) for packet in packets)
                if client.ended:
                    break
            assert client.close_code in (None, 1000, 1002, 1008, 1009)


@pytest.mark.parametrize(
    ("packets", "answered"),
    [
        pytest.param([f'{PREFIX}{"9" * 100}["ping"]'], True, id="an id of 100 digits"),
        pytest.param([PREFIX + '0["ping","\\ud800"]'], True, id="a lone surrogate"),
        pytest.param(
            ['451-/market-data,3["subscribe",{"_placeholder":true,"num":0}]'], True, id="binary event"
        ),
        pytest.param(['461-/market-data,3[{"_placeholder":true,"num":0}]'], True, id="binary ack"),
        pytest.param([f'45{"9" * 100}-/market-data,1["x"]'], True, id="so many attachments"),
        pytest.param(['43/market-data,1["x"]', "43/market-data,1{}"], True, id="answers nobody asked for"),
        pytest.param(['44/market-data,{"message":"forged"}'], True, id="a forged connect_error"),
        pytest.param(['40/market-data,{"sid":"forged"}'], True, id="a second connect"),
        pytest.param(
            ['42["subscribe",{"symbols":["A"]}]', '42/other,1["ping"]'], False, id="other namespaces"
        ),
        pytest.param(["40/other,", "40", "40/admin,{}"], True, id="connects to other namespaces"),
        pytest.param(["7", "9nonsense", "", "\x00"], False, id="packets that do not exist"),
        pytest.param(["1"], False, id="the end"),
        pytest.param(["41/market-data,"], False, id="the end of the namespace"),
        pytest.param(["0{}"], False, id="a forged opening"),
    ],
)
async def test_a_packet_out_of_place_gets_its_answer_and_the_next_call_too(
    server: Server, packets: list[str], *, answered: bool
) -> None:
    async with entered(server) as way:
        await way.say(*packets, say("ping", None, 5))
        came = await way.packets_to("43/market-data,5")
        # Without an end the call behind it was answered: that is what was read up to.
        assert way.ended or not answered or any(map(is_answer, came[:-1]))


async def test_ten_thousand_symbols_in_one_call_are_refused(server: Server) -> None:
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket.send(say("subscribe", {"symbols": [f"S{n}" for n in range(10_000)]}, 1))
        answer = await socket.read_to("43/market-data,1")
        assert '"INVALID_MESSAGE"' in answer
        assert len(answer) < 500


async def test_an_attachment_is_passed_over(server: Server) -> None:
    """A binary event is refused when its text comes; what follows it breaks nothing."""
    async with entered(server) as way:
        await way.say('451-/market-data,3["subscribe",{"_placeholder":true,"num":0}]')
        await way.send(masked(b"\x04\xff\x00" * 100, FIN | BINARY))
        await way.say(say("ping", None, 4))
        packets = await way.packets_to("43/market-data,4")
    assert [packet[:17] for packet in packets] == ["43/market-data,3[", "43/market-data,4["]


FRAMES = {
    "unmasked": (b"\x81\x022x", 1002),
    "reserved bits": (masked("2", 0xC1), 1002),
    "reserved opcode": (masked("2", 0x83), 1002),
    "reserved control opcode": (masked("2", 0x8B), 1002),
    "bad UTF-8": (masked(b"4\xff\xfe"), 1007),
    "a surrogate in UTF-8": (masked(b"42\xed\xa0\x80"), 1007),
    "UTF-8 cut off": (masked(b"42\xe2\x82"), 1007),
    "too large": (masked(b"4" + b"x" * 300_000), 1009),
    "so large that nobody could send it": (masked(b"4", length=b"\x7f" + b"\xff" * 8), 1009),
    "too large in pieces": (masked(b"4" * 200_000, TEXT) + masked(b"x" * 200_000, FIN), 1009),
    "fragmented control": (masked(b"", PING), 1002),
    "long control": (masked(b"x" * 126, FIN | PING), 1002),
    "continuation of nothing": (masked(b"x", FIN), 1002),
    "a message in a message": (masked(b"4", TEXT) + masked(b"2"), 1002),
    "endless fragments": (masked(b"4", TEXT) + masked(b"", 0) * 1_100, 4429),
    "a close": (masked(b"\x03\xe8", FIN | CLOSE), 1000),
    "a close without a code": (masked(b"", FIN | CLOSE), None),
    "a close with half a code": (masked(b"\x03", FIN | CLOSE), 1002),
    "a close with a code of nobody": (masked(b"\x03\xe7", FIN | CLOSE), 1002),
    "a close with a code that is never sent": (masked(b"\x03\xee", FIN | CLOSE), 1002),
    "a close whose reason is not UTF-8": (masked(b"\x03\xe8\xff", FIN | CLOSE), 1007),
}


@pytest.mark.parametrize("name", FRAMES)
async def test_a_frame_that_breaks_the_protocol_closes_with_a_code(server: Server, name: str) -> None:
    data, code = FRAMES[name]
    async with entered(server) as way:
        await way.send(data)
        while await way.packet() is not None:
            pass
        # Half a code is no code: what answers it is free.
        assert way.close_code == code or code is None
        assert way.ended


async def test_random_bytes_after_the_upgrade_end_or_wait(server: Server) -> None:
    """Frames of random heads, and whole ones with a bit turned over; the end always comes when asked for."""
    draw = random.Random(SEED)
    for number in range(200):
        async with wire(server.port) as way:
            await way.send(head() + masked(enter(server.token())))
            for _ in range(draw.randint(1, 6)):
                data = bytearray(draw.randbytes(draw.randint(1, 40)))
                if number % 2:
                    data = bytearray(masked(event(draw, "1")))
                    data[draw.randrange(min(len(data), 12))] ^= 1 << draw.randrange(8)
                await way.send(bytes(data))
            way.finish()
            while await way.read():
                pass
            assert way.ended


async def test_more_messages_a_second_than_anyone_needs_end_the_connection(server: Server) -> None:
    """1,001 in one second are too many, of whatever kind; the reason is in the close code and the log."""
    async with entered(server) as way:
        await way.send(masked("6") * 1_500)
        while await way.packet() is not None:
            pass
        assert way.close_code == 4429

    def told() -> bool:
        return any(e["reason"] == "too_many_messages" for e in server.events("websocket_connection_closed"))

    await eventually(told, what="the reason in the log")


@pytest.mark.parametrize("flood", ["pings", "probes"])
async def test_answers_to_a_flood_that_reads_none_do_not_pile_up(server: Server, flood: str) -> None:
    """Pongs and answers to probes are bytes too: what a client does not take must not be kept for it."""
    before = memory(server)
    async with poller(server.url) as polling, wire(server.port, 4096) as way:
        if flood == "pings":
            await way.enter(server.token())
            block = masked(b"x" * 125, FIN | PING) * 4_000
        else:
            await way.send(head(f"{ENGINE}&sid={polling.sid}"))
            await way.read_head()
            block = masked("2probe") * 40_000
        # A server that reads no more has found an answer too.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                for _ in range(60):
                    if not await way.send(block) or memory(server) - before > 40 * MEGABYTE:
                        break
        assert memory(server) - before < 20 * MEGABYTE


BODIES = [
    *(
        b"",
        b"\x1e" * 1_000,
        b"\xff\xfe",
        b"4\xed\xa0\x80",
        b"b",
        b"bAAAA",
        b"b!!!!",
        b"4" * 5_000,
        b"x" * 300_000,
    ),
    *(b"1", b"3", b"6", b"0{}", b"5", b"2probe", b"40", b"42/market-data,", b"\x00", b"45" + b"9" * 400),
    *(b"4" + text for text in HOSTILE),
    *(b"42/market-data,1" + text for text in HOSTILE),
]


async def test_hostile_posts_are_answered_by_a_status(server: Server) -> None:
    """200, or 400 or 413 with a reason; never an error of the server's."""
    draw = random.Random(SEED)
    bodies = BODIES + [
        "\x1e".join(damage(draw, event(draw, "1")) for _ in range(draw.randint(1, 20))).encode()
        for _ in range(150)
    ]
    for body in bodies:
        async with poller(server.url) as polling, aiohttp.ClientSession() as session:
            await polling.post(enter(server.token()))
            target = f"{server.url}/socket.io/?EIO=4&transport=polling&sid={polling.sid}"
            async with session.post(target, data=body) as answer:
                text = await answer.text()
                assert (answer.status, text) == (200, "ok") or answer.status in (400, 413), (body[:80], text)


def requests(token: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Targets and headers of requests that are wrong in one way each."""
    bearer = {"Authorization": f"Bearer {token}"}
    for symbols in ("", ",", "%ED%A0%80", "%00", "%FF", "*", "A" * 33, "A%0AB", "%C3%A9", "S," * 3_000):
        yield f"/market-data/stream?symbols={symbols}", bearer
    for query in (
        "maxRate=nan",
        "maxRate=-1",
        "maxRate=" + "9" * 100,
        "mode=x",
        "mode=%ED%A0%80",
        "maxRate=1e999",
    ):
        yield f"/market-data/stream?symbols=A&{query}", bearer
    for ident in ("", "A-1@" + "9" * 100, "A-1@" + "9" * 19, "\udcff", "-@", "A-1@-1", "٣-٣@٣", "x" * 4_000):
        yield "/market-data/stream?symbols=A", bearer | {"Last-Event-ID": ident}
    for credentials in (
        "Bearer",
        "Bearer \udcff",
        "Bearer a.b.c",
        "Basic eDp5",
        "Bearer " + "x" * 8_000,
        "\udcff",
    ):
        yield "/market-data/stream?symbols=A", {"Authorization": credentials}
    for address in ("\udcff", "fe80::1%\udcff", "1.2.3.4, ::", "," * 1_000, "999.1.1.1"):
        yield "/market-data/stream?symbols=A", bearer | {"X-Forwarded-For": address}
    for name, value in (
        *(("Sec-WebSocket-Key", key) for key in ("", "short", "\udcff" * 24, "x" * 24, "x" * 4_000)),
        *(("Sec-WebSocket-Version", version) for version in ("", "12", "13, 8", "\udcff")),
        *(("Upgrade", value) for value in ("", "h2c", "websocket, h2c", "\udcff")),
        *(("Connection", value) for value in ("", "close", "keep-alive")),
        *(("Origin", value) for value in ("null", "http://test\udcff", "http://", "x" * 4_000)),
        *(("Content-Length", value) for value in ("5", "-1", "9" * 100, "x")),
        ("Transfer-Encoding", "chunked"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=99"),
    ):
        yield ENGINE, UPGRADE | {name: value}
    for query in (
        "EIO=3",
        "EIO=4&transport=x",
        "transport=websocket",
        "EIO=4&sid=%ED%A0%80",
        "EIO=4&sid=" + "x" * 5_000,
    ):
        yield f"/socket.io/?{query}", UPGRADE
    for target in (
        "*",
        "//",
        "/\x00",
        "/%",
        "http://[/",
        "http://x:99999999/",
        "/nowhere/\udcff",
        "/" + "x" * 9_000,
    ):
        yield target, {}
    for path in ("quote/%00", "publish", "ws/stats", "nowhere"):
        yield f"/api/v1/market/{path}?token=%ED%A0%80", {}


async def test_hostile_requests_are_answered_by_a_status_or_an_end(server: Server) -> None:
    for target, headers in requests(server.token()):
        async with wire(server.port) as way:
            await way.send(head(target, headers))
            answer = await way.read_head()
            status = int(answer.split()[1]) if answer else 0
            assert status < 500, (target, headers, answer)
            assert answer or way.ended


async def test_requests_that_are_no_http_are_answered_or_ended(server: Server) -> None:
    """Random bytes, heads without an end, bodies that do not come, and two requests in one."""
    draw = random.Random(SEED)
    whole = head()
    beginnings = [
        *(draw.randbytes(draw.randint(1, 400)) for _ in range(40)),
        *(whole[: draw.randrange(len(whole))] for _ in range(40)),
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000,
        b"POST /socket.io/?EIO=4 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4",
        b"POST /api/v1/market/publish HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        head("/market-data/stream?symbols=A", {}, "TRACE"),
        head("/healthz", {}) * 20 + whole,
        whole.replace(b"HTTP/1.1", b"HTTP/1.0"),
        whole.replace(b"HTTP/1.1", b"HTTP/9.9"),
        whole.replace(b"GET", b"get"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]
    for data in beginnings:
        async with wire(server.port) as way:
            await way.send(data)
            way.finish()
            async with asyncio.timeout(scaled(10)):
                answer = b""
                while block := await way.read():
                    answer += block
            assert b"HTTP/1.1 500" not in answer
            assert b"HTTP/1.0 500" not in answer


async def test_many_at_once_leave_nothing_behind(server: Server) -> None:
    """Half handshakes and clients that vanish while they are served: only the honest one remains."""
    before = len(server.events("websocket_connection_closed"))

    async def vanish(number: int) -> None:
        async with wire(server.port) as way:
            if number % 2:
                await way.enter(server.token())
                await way.say(say("subscribe", {"symbols": ["EUR/USD"]}))
                await way.packets_to(f'{PREFIX}["snapshot"')
            else:
                await way.send(head()[:40])

    await asyncio.gather(*(vanish(number) for number in range(200)))
    await eventually(
        lambda: len(server.events("websocket_connection_closed")) >= before + 100,
        5,
        "the end of all that vanished",
    )
    assert await metric(server, 'websocket_active_connections{transport="websocket"}') == 1
