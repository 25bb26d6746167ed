"""A call whose id can be read is answered, whatever else is in it, and the client goes on."""

import json
from typing import Any

import aiohttp
import pytest

from tests.conformance.raw import Poller, enter, poller, raw_socket
from tests.support.builders import HOSTILE
from tests.support.plain import plain
from tests.support.server import Server

DAMAGED = [
    *('"\\ud83d"', '"\\ude00\\ud83d"', "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1" + "0" * 400),
    *(
        "[" * 50_000,
        "[" * 2_000 + "]" * 2_000,
        '{"a":' * 2_000 + "1" + "}" * 2_000,
        "",
        "undefined",
        "'a'",
        "01",
    ),
    *(
        '{"a":1',
        '"',
        '"\\',
        "\u0001",
        "9007199254740993",
        "123456789012345678901234567890",
        "null",
        "[]",
        '"x"',
    ),
]
WAYS = [
    '["subscribe",{"symbols":[%s]}]',
    '["get_quote",{"symbol":%s}]',
    '["subscribe",{"maxRate":%s,"symbols":["A"]}]',
]
ARITY = [
    '["ping",{},%s]',
    '["ping",%s]',
    "%s",
    "[%s]",
    '[%s,"ping"]',
    '["authenticate",{"token":%s}]',
    '["unknown",%s]',
]


def bodies() -> list[str]:
    """What may stand behind an acknowledgement id; a digit would be one more of the id."""
    made = [way.replace("%s", value) for way in (*WAYS, *ARITY) for value in DAMAGED]
    return [body for body in made if not body[:1].isdigit()]


def require_answer(packet: str, ack: int) -> None:
    """Fails unless a packet is the answer to a call, with one argument."""
    prefix = f"43/market-data,{ack}"
    assert packet.startswith(prefix + "[")
    (answer,) = json.loads(packet.removeprefix(prefix))
    assert isinstance(answer, dict)


async def test_every_call_on_a_websocket_gets_its_acknowledgement(server: Server) -> None:
    async with raw_socket(server.url, token=server.token()) as client:
        for ack, body in enumerate(bodies()):
            await client.send(f"42/market-data,{ack}{body}")
            require_answer(await client.read_to("43/market-data,"), ack)


async def test_every_call_on_polling_gets_its_acknowledgement(server: Server) -> None:
    """Raw bytes that are no UTF-8 may stand in a body here; a websocket would have to be closed for them."""
    calls = [body.encode() for body in bodies()] + [
        b'["get_quote",{"symbol":%s}]' % value for value in HOSTILE
    ]
    async with poller(server.url) as client:
        assert await client.post(enter(server.token())) == 200
        await read_to(client, "40/market-data")
        for ack, body in enumerate(calls):
            assert await client.post_bytes(f"42/market-data,{ack}".encode() + body) == 200
            require_answer(await read_to(client, "43/market-data,"), ack)


async def read_to(client: Poller, start: str) -> str:
    """Polls until a packet starts like this, and returns it."""
    while True:
        packets = await client.poll()
        if "2" in packets:
            await client.post("3")
        for packet in packets:
            if packet.startswith(start):
                return packet


@pytest.mark.parametrize("ack", [0, 7, 2**53, 2**64 - 1])
async def test_a_call_may_have_any_id(server: Server, ack: int) -> None:
    async with raw_socket(server.url, token=server.token()) as client:
        await client.send(f'42/market-data,{ack}["ping"]')
        require_answer(await client.read_to("43/market-data,"), ack)


async def test_a_call_to_another_namespace_is_answered_there(server: Server) -> None:
    async with raw_socket(server.url, token=server.token()) as client:
        await client.send('42/other,7["ping"]', '428["ping"]')
        assert "INVALID_MESSAGE" in await client.read_to("43/other,7[")
        assert "INVALID_MESSAGE" in await client.read_to("438[")


@pytest.mark.parametrize("payload", ['{"token":"\\ud83d"}', "{", "NaN", '{"token":', "[" * 9_000])
async def test_a_handshake_is_answered_whatever_it_holds(server: Server, payload: str) -> None:
    """And may be tried again."""
    async with raw_socket(server.url) as client:
        await client.send("40/market-data," + payload)
        refusal = json.loads((await client.read_to("44/market-data,")).removeprefix("44/market-data,"))
        assert refusal["data"]["code"] == "INVALID_MESSAGE"
        await client.send(enter(server.token()))
        await client.read_to("40/market-data,")


@pytest.mark.parametrize("value", DAMAGED, ids=lambda value: value[:12])
async def test_every_action_gets_its_answer(server: Server, value: str) -> None:
    """With its request_id, which stands before what is damaged."""
    async with plain(server.url, server.token()) as client:
        for ident, member in enumerate(("symbols", "symbol", "maxRate", "token", "filter")):
            for name in ("subscribe", "get_quote", "authenticate", "unsubscribe", "no_such_action"):
                text = f'{{"action":"{name}","request_id":{ident},"{member}":{value}}}'
                await client.socket.send_str(text)
                answer: dict[str, Any] = await client.socket.receive_json()
                assert answer["request_id"] == ident, text[:80]


@pytest.mark.parametrize("value", DAMAGED, ids=lambda value: value[:12])
async def test_every_typed_call_gets_its_answer(server: Server, value: str) -> None:
    async with plain(server.url, server.token()) as client:
        for data in (value, f'{{"type":"stock_quotes","symbols":[{value}]}}', f'{{"type":{value}}}'):
            for name in ("subscribe", "get_quote", "authenticate", "unsubscribe", "no_such_type"):
                await client.socket.send_str(f'{{"type":"{name}","data":{data}}}')
                answer: dict[str, Any] = await client.socket.receive_json()
                assert set(answer) == {"type", "data"}


@pytest.mark.parametrize(
    "value", [*(value.encode() for value in DAMAGED), *HOSTILE], ids=lambda value: repr(value[:12])
)
async def test_every_body_gets_its_answer(server: Server, value: bytes) -> None:
    """200 where a bad item harms no other, else 400 with the shape of an error."""
    scopes = ("market:read", "market:publish")
    token = server.token(user=f"user of {hash(value)}", scopes=scopes)
    calls = {
        ("POST", "/api/v1/market/publish"): b'{"prices":[{"symbol":"A","timestamp":%s}]}',
        ("POST", "/api/v1/market/search"): b'{"query":%s,"limit":%s}',
        ("POST", "/api/v1/events"): b'{"events":[{"id":"a","type":"t","data":%s}]}',
        ("PUT", "/api/v1/events/subscriptions/mine"): b'{"symbols":[%s],"minConfidence":%s}',
    }
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        for (method, path), body in calls.items():
            for text in (value, body.replace(b"%s", value)):
                async with session.request(method, server.url + path, data=text) as answer:
                    given = await answer.json()
                    assert answer.status in (200, 400), (path, text[:80])
                    if answer.status == 400:
                        assert set(given["error"]) <= {"code", "message", "details"}
