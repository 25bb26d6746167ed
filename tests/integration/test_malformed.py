"""What is no HTTP, or more of it than is taken: answered like every other fault, and the connection ends."""

from collections.abc import Sequence

import pytest

from tests.support.exchange import exchange, request
from tests.support.server import Server, running_server

FROM = b"Host: test\r\nOrigin: http://localhost:3000\r\n"
CHUNKED = request("/healthz", "Transfer-Encoding: chunked", method="POST")
HEADER = "X: " + "a" * 4000

FAULTS: dict[str, tuple[Sequence[bytes], int]] = {
    "a path that is too long": ([request("/" + "a" * 20_000)], 414),
    "a header that is too long": ([request("/", "X: " + "a" * 20_000)], 431),
    "too many headers": ([request("/", *["X: a"] * 300)], 431),
    "a head that is too large": ([request("/", *[HEADER] * 10)], 431),
    "a head that does not end": (
        [request("/", *[HEADER] * 4).removesuffix(b"\r\n"), b"Y: b\r\n" * 5_000],
        431,
    ),
    "a head that is far too large": ([request("/", *[HEADER] * 300)], 431),
    "no request line": ([b"GARBAGE\r\n" + FROM + b"\r\n"], 400),
    "no method": ([b"G@T / HTTP/1.1\r\n" + FROM + b"\r\n"], 400),
    "no header": ([b"GET / HTTP/1.1\r\n" + FROM + b"b@d header\r\n\r\n"], 400),
    "no host": ([b"GET / HTTP/1.1\r\nOrigin: http://localhost:3000\r\n\r\n"], 400),
    "no URL": ([b"GET http:///x HTTP/1.1\r\n" + FROM + b"\r\n"], 400),
    "a version to come": ([b"GET / HTTP/3.0\r\n" + FROM + b"\r\n"], 505),
    "a version that is spoken elsewhere": ([b"GET / HTTP/2.0\r\n" + FROM + b"\r\n"], 505),
    "two lengths": ([request("/", "Content-Length: 5", "Content-Length: 6", method="POST")], 400),
    "a length beside chunks": (
        [request("/", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST")],
        400,
    ),
    "a chunk without a length": ([CHUNKED + b"zz\r\nx\r\n"], 400),
    "a chunk of another length": ([CHUNKED + b"2\r\nabcd\r\n"], 400),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_no_request_is_answered_in_the_shape_of_errors(server: Server, fault: str) -> None:
    """Also to a page: without the header it would read "network error"."""
    parts, status = FAULTS[fault]
    answer = await exchange(server.port, *parts)
    assert (answer.status, answer.ended) == (status, True)
    assert answer.code
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert answer.headers["connection"] == "close"
    assert answer.headers["server"] == "marketstream"


@pytest.mark.parametrize(
    "first",
    ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET /\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
)
async def test_what_speaks_another_protocol_is_told_so(server: Server, first: str) -> None:
    answer = await exchange(server.port, first.encode("latin-1"))
    assert answer.status in (400, 505)
    assert answer.code
    assert "access-control-allow-origin" not in answer.headers


async def test_a_path_that_does_not_end_is_refused_when_it_is_too_long(server: Server) -> None:
    answer = await exchange(server.port, b"GET /" + b"a" * 300_000)
    assert (answer.status, answer.code, answer.ended) == (414, "URI_TOO_LONG", True)


async def test_a_fault_in_a_body_that_is_awaited_answers_the_request(server: Server) -> None:
    """The handler waits for the rest, which will never come."""
    head = request(
        "/api/v1/market/search",
        f"Authorization: Bearer {server.token()}",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
        method="POST",
    )
    answer = await exchange(server.port, head + b"5\r\nabcde\r\n", b"no length\r\n")
    assert (answer.status, answer.code, answer.ended) == (400, "BAD_REQUEST", True)
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


async def test_a_page_of_elsewhere_does_not_get_to_read_it(server: Server) -> None:
    answer = await exchange(server.port, request("/", HEADER, *["X: a"] * 300, origin="https://evil.example"))
    assert answer.status == 431
    assert "access-control-allow-origin" not in answer.headers


async def test_limits_of_a_request_are_settings() -> None:
    env = {
        "MARKETSTREAM_SERVER__MAX_LINE": "1100",
        "MARKETSTREAM_SERVER__MAX_HEADERS": "16",
        "MARKETSTREAM_SERVER__MAX_HEAD": "65536",
        "MARKETSTREAM_SERVER__KEEPALIVE": "0.5",
    }
    async with running_server(env=env) as server:
        assert (await exchange(server.port, request("/" + "a" * 1200))).status == 414
        assert (await exchange(server.port, request("/", "X: " + "a" * 1200))).status == 431
        assert (await exchange(server.port, request("/", *["X: a"] * 20))).status == 431
        assert (
            await exchange(server.port, request("/healthz", *[f"X{i}: {'a' * 1000}" for i in range(12)]))
        ).status == 200
        silent = await exchange(server.port, request("/healthz"), patience=20)
        assert (silent.status, silent.ended) == (200, True)
        half = await exchange(server.port, request("/healthz").removesuffix(b"\r\n"), patience=20)
        assert (half.status, half.ended) == (0, True)


@pytest.mark.parametrize(
    "target", ["/healthz", "/nope", "/market-data/stream", "/socket.io/?EIO=3&transport=polling", "/"]
)
async def test_no_answer_says_what_the_server_is_made_of(server: Server, target: str) -> None:
    answer = await exchange(server.port, request(target, "Connection: close"))
    assert answer.headers["server"] == "marketstream"


@pytest.mark.parametrize("status", [101, 200])
async def test_nor_does_a_stream(server: Server, status: int) -> None:
    head = {
        101: request(
            f"/ws?token={server.token()}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==",
        ),
        200: request(f"/market-data/stream?symbols=EUR/USD&token={server.token()}"),
    }[status]
    answer = await exchange(server.port, head, patience=0.5)
    assert answer.status == status
    assert answer.headers["server"] == "marketstream"


async def test_pipelined_requests_are_all_answered(server: Server) -> None:
    """Many heads together are larger than one may be."""
    answer = await exchange(
        server.port, request("/healthz") * 2_000 + request("/healthz", "Connection: close"), patience=20
    )
    assert answer.ended
    assert answer.body.count(b'{"status":"ok"}') == 2_001
