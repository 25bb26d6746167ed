"""What opens a websocket, and what does not: RFC 6455, 4.2.1, on every path that takes one."""

import pytest

from tests.support.raw_socket import ENGINE, UPGRADE, wire
from tests.support.server import Server

PATHS = {"plain": "/ws", "engine": ENGINE}
KEY = UPGRADE["Sec-WebSocket-Key"]


def request(
    server: Server, path: str, changes: dict[str, str | None], version: str = "HTTP/1.1", method: str = "GET"
) -> bytes:
    """An upgrade by a verified client, with some headers changed, or left out where None."""
    headers = {"Host": "test", **UPGRADE, "Authorization": f"Bearer {server.token()}", **changes}
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def answer(server: Server, data: bytes) -> tuple[int, bytes]:
    """Status and head of the answer to a request."""
    async with wire(server.port) as client:
        await client.send(data)
        head = await client.read_head()
        return int(head.split()[1]), head


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "upgrade"},
        {"Upgrade": "WebSocket"},
        {"Upgrade": "h2c, websocket"},
        {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"Sec-WebSocket-Extensions": "permessage-deflate"},
    ],
    ids=str,
)
async def test_what_the_rfc_allows_is_taken(
    server: Server, path: str, changes: dict[str, str | None]
) -> None:
    status, head = await answer(server, request(server, path, changes))
    assert status == 101
    assert b"sec-websocket-extensions" not in head.lower()


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(
    "changes",
    [
        {"Connection": None},
        {"Connection": "keep-alive"},
        {"Connection": "notupgrade"},
        {"Upgrade": None},
        {"Upgrade": "notwebsocketatall"},
        {"Upgrade": "web socket"},
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "x"},
        {"Sec-WebSocket-Key": "!" * 24},
        {"Sec-WebSocket-Key": "A" * 24},
        {"Sec-WebSocket-Key": KEY[:-2]},
        {"Sec-WebSocket-Key": KEY[:21] + "B=="},
        {"Sec-WebSocket-Key": KEY + KEY},
    ],
    ids=str,
)
async def test_what_is_no_handshake_is_refused(
    server: Server, path: str, changes: dict[str, str | None]
) -> None:
    status, _ = await answer(server, request(server, path, changes))
    assert status == 400


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
async def test_http_1_0_opens_no_websocket(server: Server, path: str) -> None:
    status, _ = await answer(server, request(server, path, {}, version="HTTP/1.0"))
    assert status == 400


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
async def test_only_a_get_opens_a_websocket(server: Server, path: str, method: str) -> None:
    status, _ = await answer(server, request(server, path, {"Content-Length": "0"}, method=method))
    assert status in (400, 404, 405)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("version", [None, "", "0", "8", "12", "14", "013", "13, 8", "\u0661\u0663"])
async def test_another_version_is_told_which_one_is_spoken(
    server: Server, path: str, version: str | None
) -> None:
    status, head = await answer(server, request(server, path, {"Sec-WebSocket-Version": version}))
    assert status == 426
    assert b"sec-websocket-version: 13\r\n" in head.lower()
