"""What a client of the plain WebSocket should not send: an answer or an end, and nobody else notices."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.builders import HOSTILE
from tests.support.eventually import eventually
from tests.support.figures import memory, metric
from tests.support.plain import ACTION, LANGUAGES, TYPED, Plain, call, code_of, plain, subscribe
from tests.support.raw_socket import BINARY, CLOSE, PING, PONG, TEXT, UPGRADE, Wire, head, masked, wire
from tests.support.server import Server

FEEDS = ("synthetic?symbols=EUR/USD&rate=50",)
SEED = 20_260_102
BATCH = 300
MEGABYTE = 1024 * 1024
FIN = 0x80
PATHS = ("/api/v1/market/ws/market-data", "/api/v1/market/ws/stock-quotes", "/ws")
NAMES: list[object] = [
    *(
        "subscribe",
        "unsubscribe",
        "subscriptions",
        "get_connection_state",
        "ping",
        "get_quote",
        "authenticate",
    ),
    *("subscribed", "price_update", "error", "connect", "__init__", "", "x" * 5_000, "\x00", "tenant:acme"),
    *(None, True, 7, [], {}, ["subscribe"]),
]
FIELDS = ["symbols", "symbol", "mode", "maxRate", "channels", "token", "type", "data_types", "high_frequency",
          "request_id", "__proto__", "", "action", "data"]  # fmt: skip
VALUES: list[object] = [
    *(None, True, -1, 0, 1.5, 1e308, 2**64 - 1, "", "every", "A", "\x00", "\u202e", "é" * 40, "S" * 10_000),
    *([], {}, [[]], [None], ["A", "A"], ["EUR/USD"], [1, "A"], ["*"], [""], {"a": []}, [{}], ["A"] * 1_001),
    *("stock_quotes", "market_data", ["indices"], ["gossip"], ["price"], "r" * 128),
]


@pytest.fixture(autouse=True)
async def honest(server: Server) -> AsyncIterator[Plain]:
    """A client that gets prices before and after, on the same connection, from a server that had no fault."""
    printed = len(server.log)
    async with plain(server.url, server.token()) as client:
        await client.ask(subscribe(ACTION, "EUR/USD"), "subscribed")
        await client.named("price_update")
        yield client
        count = len(client.prices)
        while len(client.prices) < count + 5:
            await client.named("price_update")
        marks = ("Traceback", '"exception"', "client_call_failed", "request_failed", '"level": "critical"')
        assert [line for line in server.log[printed:] if any(mark in line for mark in marks)] == []


@asynccontextmanager
async def entered(server: Server, receive_buffer: int | None = None) -> AsyncIterator[Wire]:
    """A websocket that is open."""
    async with wire(server.port, receive_buffer) as way:
        await way.send(head("/ws", UPGRADE | {"Authorization": f"Bearer {server.token()}"}))
        answer = await way.read_head()
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        yield way


def fields(draw: random.Random) -> dict[str, object]:
    """What may stand in a message, likely or not."""
    return {draw.choice(FIELDS): draw.choice(VALUES) for _ in range(draw.randint(0, 4))}


def message(draw: random.Random, language: str) -> object:
    """A message of a language with any name and any fields; now and then something else altogether."""
    if draw.random() < 0.05:
        return draw.choice(VALUES)
    name = draw.choice(NAMES)
    if language == ACTION:
        return {**fields(draw), "action": name}
    return {"type": name, "data": fields(draw) if draw.random() < 0.8 else draw.choice(VALUES)}


def damage(draw: random.Random, text: str) -> str:
    """The text with some of its characters lost, doubled or changed."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(text) + 1)
        middle = draw.choice(
            ["", text[at : at + 1] * 2, chr(draw.choice((0, 10, 34, 92, 0x7F, 0xE9, 0x1F600)))]
        )
        text = text[:at] + middle + text[at + draw.randint(0, 2) :]
    return text


def is_answer(told: dict[str, Any], language: str) -> bool:
    """Whether a message answers a call, and is not one that the server sends by itself."""
    if language == ACTION:
        return "status" in told and "state" not in told
    kinds = ("subscribed", "unsubscribed", "subscriptions", "quote", "pong", "authenticated", "error")
    return told["type"] in kinds


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "damaged"])
async def test_every_message_gets_one_answer(server: Server, language: str, *, whole: bool) -> None:
    """Whatever is in it, and whatever came before."""
    draw = random.Random(SEED)
    for _ in range(3):
        async with plain(server.url, server.token()) as client:
            await client.ask(call(language, "ping"), "pong")
            client.messages.clear()
            texts = [json.dumps(message(draw, language)) for _ in range(BATCH)]
            await client.say(*(text if whole else damage(draw, text) for text in texts))
            await client.until(lambda _: sum(is_answer(m, language) for m in client.messages) == BATCH)
            client.messages.clear()
            await client.fence(language)
            assert sum(is_answer(told, language) for told in client.messages) == 2


async def test_hostile_json_is_answered_by_an_error(server: Server) -> None:
    """Before the language is known and after it is; names of the server's own messages are unknown calls."""
    async with plain(server.url, server.token()) as client:
        for language in (None, ACTION):
            if language:
                await client.ask(call(language, "ping"), "pong")
            for body in HOSTILE:
                with contextlib.suppress(UnicodeDecodeError):
                    await client.say(body.decode())
                    assert code_of(await client.named("error")) == "INVALID_MESSAGE"
        for name in ("price_update", "connect", "__init__", ""):
            await client.say(call(ACTION, name))
            assert (await client.named("error"))["code"] == "UNKNOWN_EVENT"


async def test_ten_thousand_symbols_in_one_call_are_refused_in_few_words(server: Server) -> None:
    async with plain(server.url, server.token()) as client:
        answer = await client.ask(subscribe(TYPED, *(f"S{n}" for n in range(10_000))), "subscribed")
        assert code_of(answer) == "INVALID_MESSAGE"
        assert len(json.dumps(answer)) < 500


FRAMES = {
    "unmasked": (b"\x81\x02{}", 1002),
    "reserved opcode": (masked("{}", 0x83), 1002),
    "a surrogate in UTF-8": (masked(b'"\xed\xa0\x80"'), 1007),
    "UTF-8 cut off": (masked(b'"\xe2\x82'), 1007),
    "binary": (masked(b"{}", FIN | BINARY), 1003),
    "binary in pieces": (masked(b"{", BINARY) + masked(b"}", FIN), 1003),
    "so large that nobody could send it": (masked(b"{", length=b"\x7f" + b"\xff" * 8), 1009),
    "too large in pieces": (masked(b"x" * 200_000, TEXT) + masked(b"x" * 200_000, FIN), 1009),
    "fragmented control": (masked(b"", PING), 1002),
    "long control": (masked(b"x" * 126, FIN | PING), 1002),
    "continuation of nothing": (masked(b"x", FIN), 1002),
    "a message in a message": (masked(b"{", TEXT) + masked(b"{}"), 1002),
    "endless fragments": (masked(b"{", TEXT) + masked(b"", 0) * 1_100, 4429),
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
        await way.send(masked(json.dumps(subscribe(ACTION, "EUR/USD"))) + data)
        while await way.frame() is not None:
            pass
        assert way.close_code == code
        assert way.ended


async def test_a_pong_that_nobody_asked_for_and_an_empty_ping_change_nothing(server: Server) -> None:
    async with entered(server) as way:
        await way.send(masked(b"x", FIN | PONG) + masked(b"", FIN | PING) + masked('{"action":"ping"}'))
        told = await way.frame()
        assert told is not None
        assert json.loads(told)["status"] == "pong"


async def test_random_bytes_after_the_upgrade_end_or_wait(server: Server) -> None:
    draw = random.Random(SEED)
    for number in range(150):
        async with entered(server) as way:
            for _ in range(draw.randint(1, 6)):
                data = bytearray(draw.randbytes(draw.randint(1, 40)))
                if number % 2:
                    data = bytearray(masked(json.dumps(message(draw, ACTION))))
                    data[draw.randrange(min(len(data), 12))] ^= 1 << draw.randrange(8)
                await way.send(bytes(data))
            way.finish()
            while await way.read():
                pass
            assert way.ended


@pytest.mark.parametrize("flood", ["pings", "calls"])
async def test_answers_to_a_flood_that_reads_none_do_not_pile_up(server: Server, flood: str) -> None:
    before = memory(server)
    async with entered(server, 4096) as way:
        block = masked(b"x" * 125, FIN | PING) * 4_000
        if flood == "calls":
            block = masked('{"action":"get_connection_state","request_id":"' + "x" * 120 + '"}') * 900
        # A server that reads no more has found an answer too.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                for _ in range(60):
                    if not await way.send(block) or memory(server) - before > 40 * MEGABYTE:
                        break
        assert memory(server) - before < 20 * MEGABYTE


async def test_hostile_requests_are_answered_by_a_status_or_an_end(server: Server) -> None:
    draw = random.Random(SEED)
    bearer = {"Authorization": f"Bearer {server.token()}"}
    headers: list[dict[str, str]] = [
        *(
            {"Authorization": value}
            for value in ("Bearer", "Bearer \udcff", "Basic eDp5", "Bearer " + "x" * 8_000)
        ),
        *(bearer | {"Sec-WebSocket-Key": key} for key in ("", "short", "\udcff" * 24, "x" * 4_000)),
        *(bearer | {"Sec-WebSocket-Version": version} for version in ("", "12", "13, 8")),
        *(bearer | {"Upgrade": value} for value in ("", "h2c", "\udcff")),
        *(bearer | {"Origin": value} for value in ("null", "http://test\udcff", "http://", "x" * 4_000)),
        *(bearer | {"Content-Length": value} for value in ("-1", "9" * 100, "x")),
        bearer | {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits=99"},
        bearer | {"Sec-WebSocket-Protocol": "\udcff"},
    ]
    for more in headers:
        async with wire(server.port) as way:
            await way.send(head(draw.choice(PATHS), UPGRADE | more))
            answer = await way.read_head()
            assert (int(answer.split()[1]) if answer else 0) < 500, (more, answer)
            assert answer or way.ended
    for target in ("/ws?token=%ED%A0%80", "/ws?token=" + "x" * 5_000, "/ws/", "/api/v1/market/ws/x"):
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            async with wire(server.port) as way:
                await way.send(head(target, UPGRADE, method))
                answer = await way.read_head()
                assert 400 <= int(answer.split()[1]) < 500, (target, method, answer)


async def test_many_at_once_leave_nothing_behind(server: Server) -> None:
    before = len(server.events("websocket_connection_closed"))

    async def vanish() -> None:
        async with entered(server) as way:
            await way.say(json.dumps(subscribe(TYPED, "EUR/USD")))
            await way.frame()

    await asyncio.gather(*(vanish() for _ in range(100)))
    await eventually(
        lambda: len(server.events("websocket_connection_closed")) >= before + 100, 5, "the end of all"
    )
    assert await metric(server, 'websocket_active_connections{transport="ws"}') == 1
