"""Who is not let in: the code it is told, and that nothing else ever reaches it."""

import asyncio
import base64
import json
import secrets
import time
from typing import Any

import aiohttp
import jwt
import pytest

from tests.conformance.market import price
from tests.conformance.raw import enter, poller, raw_socket, say
from tests.conformance.watcher import watching
from tests.support.node import Node
from tests.support.server import Server

CODES = {
    "none": "UNAUTHORIZED",
    "garbage": "AUTH_FAILED",
    "expired": "TOKEN_EXPIRED",
    "other key": "AUTH_FAILED",
    "alg none": "AUTH_FAILED",
    "no tenant": "AUTH_FAILED",
    "no user": "AUTH_FAILED",
    "no expiry": "AUTH_FAILED",
    "other algorithm": "AUTH_FAILED",
    "unknown plan": "AUTH_FAILED",
    "tampered": "AUTH_FAILED",
}

names = pytest.mark.parametrize("name", CODES)


def _claims(**changes: Any) -> dict[str, Any]:
    claims = {"sub": "u1", "tenantId": "acme", "plan": "pro", "exp": int(time.time()) + 600} | changes
    return {name: value for name, value in claims.items() if value is not None}


def _unsigned() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(_claims())}."


def bad_tokens(server: Server) -> dict[str, str | None]:
    """A token of every kind that must be refused."""

    def signed(**changes: Any) -> str:
        return jwt.encode(_claims(**changes), server.secret, algorithm="HS256")

    head, _, signature = signed().split(".")
    body = signed(tenantId="other").split(".")[1]
    return {
        "none": None,
        "garbage": "garbage",
        "expired": server.token(ttl=-60),
        "other key": jwt.encode(_claims(), secrets.token_hex(32), algorithm="HS256"),
        "alg none": _unsigned(),
        "no tenant": signed(tenantId=None),
        "no user": signed(sub=None),
        "no expiry": signed(exp=None),
        "other algorithm": jwt.encode(_claims(), server.secret * 2, algorithm="HS512"),
        "unknown plan": signed(plan="no such plan"),
        "tampered": f"{head}.{body}.{signature}",
    }


def test_stock_javascript_clients_learn_the_code_and_see_nothing_else(node: Node, server: Server) -> None:
    """`connect_error` with `data.code`, on both generations and both transports."""
    given = {name: {} if token is None else {"token": token} for name, token in bad_tokens(server).items()}
    told = asyncio.run(node.run("refused.mjs", server.url, json.dumps(given)))
    assert len(told) == 4 * len(CODES)
    for client in told:
        assert client["connected"] is False
        kinds = [entry[0] for entry in client["seen"]]
        assert [kind for kind in kinds if kind != "disconnect"] == ["connect_error"], client
        error = client["seen"][0][1]
        assert error["data"]["code"] == CODES[client["name"]], client
        assert error["message"]


@names
async def test_a_refused_client_gets_no_event_whatever_it_does(server: Server, name: str) -> None:
    """It stays, subscribes nevertheless, and prices and its tenant's events pass by."""
    token = bad_tokens(server)[name]
    async with raw_socket(server.url) as socket:
        await socket.send(enter(token))
        error = json.loads((await socket.read_to("44/market-data,")).partition(",")[2])
        assert error["data"]["code"] == CODES[name]
        await server.publish(prices=[price("REFUSED", 1)])
        await server.publish(prices=[price("REFUSED", 1)], tenant="acme")
        await socket.fence()
        await socket.send(say("subscribe", {"symbols": ["REFUSED"]}, ack=1))
        await socket.read_to_end()
        assert socket.events == []
        assert [packet[:2] for packet in socket.packets] == ["0{", "44"]


async def test_a_client_that_has_not_presented_itself_gets_no_event(server: Server) -> None:
    """Neither a subscription nor a made-up `connect` event opens the door."""
    async with raw_socket(server.url) as socket:
        await server.publish(prices=[price("REFUSED", 2)])
        await socket.fence()
        await socket.send(say("connect", {"token": server.token()}, ack=1))
        await socket.send(say("subscribe", {"symbols": ["REFUSED"]}, ack=2))
        await socket.read_to_end()
        assert [packet[:2] for packet in socket.packets] == ["0{"]


async def test_a_refused_polling_client_gets_no_event(server: Server) -> None:
    async with poller(server.url) as client:
        await client.post(enter("garbage"))
        [error] = await client.poll()
        assert json.loads(error.partition(",")[2])["data"]["code"] == "AUTH_FAILED"
        await server.publish(prices=[price("REFUSED", 3)])
        await client.post("2fence")
        assert await client.poll() == ["3fence"]
        await client.post(say("subscribe", {"symbols": ["REFUSED"]}, ack=1))
        assert await client.post("2fence") == 400


async def test_a_refused_client_may_try_again_with_a_good_token(server: Server) -> None:
    async with raw_socket(server.url) as socket:
        await socket.send(enter("garbage"))
        await socket.read_to("44")
        await socket.send(enter(server.token()))
        await socket.read_to("40/market-data,")


async def test_an_admitted_client_cannot_call_what_only_the_server_may(server: Server) -> None:
    """Names of handlers are no events: `connect`, `disconnect` and the like are unknown."""
    async with raw_socket(server.url, token=server.token()) as socket:
        for number, name in enumerate(("connect", "disconnect", "connect_error", "__init__", "price")):
            await socket.send(say(name, {}, ack=number))
            answer = json.loads((await socket.read_to(f"43/market-data,{number}[")).partition("[")[2][:-1])
            assert answer["code"] == "UNKNOWN_EVENT"
        await socket.fence()


async def test_another_namespace_is_not_there(server: Server) -> None:
    async with raw_socket(server.url) as socket:
        await socket.send("40" + json.dumps({"token": server.token()}))
        error = json.loads((await socket.read_to("44"))[2:])
        assert error["message"]
        await socket.fence()
        assert socket.events == []


@pytest.mark.parametrize("place", ["auth", "header", "query"])
async def test_a_token_counts_from_the_first_place_where_there_is_one(server: Server, place: str) -> None:
    """`auth.token`, then `Authorization: Bearer`, then the query: a bad one before a good one is refused."""
    order = ["auth", "header", "query"]
    tokens = {name: server.token() if name == place else "garbage" for name in order[order.index(place) :]}
    headers = {"Authorization": f"Bearer {tokens['header']}"} if "header" in tokens else {}
    query = {"EIO": "4", "transport": "websocket"}
    query |= {"token": tokens["query"]} if "query" in tokens else {}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{server.url}/socket.io/", params=query, headers=headers) as socket,
    ):
        await socket.receive_str()
        await socket.send_str(enter(tokens.get("auth")))
        assert (await socket.receive_str()).startswith("40/market-data,")


async def test_a_user_holds_as_many_connections_as_the_plan_allows(server: Server) -> None:
    """One more is `CONNECTION_LIMIT`, over all transports; another user has its own count."""
    token = server.token(user="alone", plan="alone")
    async with watching(server, token):
        async with raw_socket(server.url) as socket:
            await socket.send(enter(token))
            error = json.loads((await socket.read_to("44")).partition(",")[2])
            assert error["data"]["code"] == "CONNECTION_LIMIT"
            await socket.fence()
            assert socket.events == []
        async with watching(server, server.token(user="another", plan="alone")):
            pass
        async with watching(server, server.token(tenant="globex", user="alone", plan="alone")):
            pass
    async with watching(server, token):
        pass


def test_no_token_is_ever_logged(server: Server) -> None:
    """Runs last in this module, after tokens came by every way."""
    log = "\n".join(server.log)
    assert "eyJ" not in log
    assert server.secret not in log
