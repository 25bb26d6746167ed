"""Bodies of requests: none is unpacked, none is awaited for ever, what nobody reads is not read for long."""

import asyncio
import contextlib
import gzip

import pytest

from marketstream.transports.body import LINGER_BYTES
from tests.support.eventually import scaled
from tests.support.exchange import exchange, request
from tests.support.figures import metric
from tests.support.server import Server, running_server

ROUTES = [
    ("POST", "/healthz"),
    ("GET", "/healthz"),
    ("POST", "/no/such/route"),
    ("POST", "/api/v1/market/publish"),
    ("POST", "/api/v1/market/search"),
    ("POST", "/socket.io/?EIO=4&transport=polling&sid=x"),
    ("GET", "/market-data/stream?symbols=EUR/USD"),
    ("OPTIONS", "/healthz"),
]
CODINGS = ["gzip", "deflate", "br", "zstd", "x-gzip", "GZIP", "gzip, gzip", "identity, br", "made-up"]


@pytest.mark.parametrize(("method", "target"), ROUTES)
async def test_no_route_takes_a_compressed_body(server: Server, method: str, target: str) -> None:
    packed = gzip.compress(b'{"query":"apple"}')
    head = request(
        target, "Content-Encoding: gzip", f"Content-Length: {len(packed)}", "Connection: close", method=method
    )
    answer = await exchange(server.port, head + packed)
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.headers["accept-encoding"] == "identity"
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("coding", CODINGS)
async def test_no_coding_is_taken(server: Server, coding: str) -> None:
    head = request(
        "/healthz", f"Content-Encoding: {coding}", "Content-Length: 2", "Connection: close", method="POST"
    )
    assert (await exchange(server.port, head + b"ab")).status == 415


async def test_nor_one_of_the_transfer(server: Server) -> None:
    head = request("/healthz", "Transfer-Encoding: gzip, chunked", "Connection: close", method="POST")
    assert (await exchange(server.port, head + b"2\r\nab\r\n0\r\n\r\n")).status == 501


async def test_identity_is_no_compression(server: Server) -> None:
    head = request("/healthz", "Content-Encoding: identity", "Content-Length: 2", "Connection: close")
    assert (await exchange(server.port, head + b"ab")).status == 200


async def test_a_coding_without_a_body_harms_nobody(server: Server) -> None:
    assert (
        await exchange(server.port, request("/healthz", "Content-Encoding: gzip", "Connection: close"))
    ).status == 200


async def test_refused_bodies_are_counted(server: Server) -> None:
    head = request(
        "/healthz", "Content-Encoding: gzip", "Content-Length: 2", "Connection: close", method="POST"
    )
    series = 'http_refused_total{status="415"}'
    before = await metric(server, series)
    for _ in range(3):
        await exchange(server.port, head + b"ab")
    assert await metric(server, series) == before + 3
    logged = [entry["status"] for entry in server.events("request_refused")]
    assert logged.count(415) <= 1


async def flood(port: int, head: bytes, block: bytes) -> int:
    """Sends blocks until the server has had enough; returns how many bytes went out."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    writer.write(head)
    with contextlib.suppress(ConnectionError):
        while not writer.transport.is_closing() and sent < 64 * 1024 * 1024:
            writer.write(block)
            await writer.drain()
            sent += len(block)
    writer.transport.abort()
    return sent


@pytest.mark.parametrize(
    ("how", "block"),
    [
        ("Content-Length: 99999999999", b"x" * 65_536),
        ("Transfer-Encoding: chunked", b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
    ],
)
async def test_the_rest_of_an_answered_request_is_read_in_bounds_of_bytes(
    server: Server, how: str, block: bytes
) -> None:
    """Beside what the kernel holds for both sides."""
    sent = await flood(server.port, request("/healthz", how, method="POST"), block)
    assert sent < LINGER_BYTES + 16 * 1024 * 1024


async def test_nor_for_long(server: Server) -> None:
    """Who trickles is answered, and cut off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request("/healthz", "Content-Length: 100000", method="POST"))
    assert b"405" in await reader.readline()

    async def trickle() -> None:
        with contextlib.suppress(ConnectionError):
            while not writer.transport.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.05)

    task = asyncio.create_task(trickle())
    async with asyncio.timeout(scaled(8)):
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
    task.cancel()
    writer.transport.abort()


async def test_an_answered_request_whose_rest_comes_leaves_the_connection_usable(server: Server) -> None:
    head = request("/healthz", "Content-Length: 200000", method="POST")
    second = request("/healthz", "Connection: close")
    answer = await exchange(server.port, head, b"x" * 200_000 + second)
    assert answer.status == 405
    assert answer.body.count(b"HTTP/1.1 200 OK") == 1


async def test_a_client_that_is_refused_reads_the_answer_however_large_its_body(server: Server) -> None:
    """A connection closed over unread bytes is reset, and a reset may take the answer along."""
    for _ in range(5):
        head = request("/healthz", "Content-Encoding: br", f"Content-Length: {LINGER_BYTES}", method="POST")
        answer = await exchange(server.port, head, b"x" * LINGER_BYTES, patience=1)
        assert answer.status == 415


async def test_a_body_that_does_not_come_is_not_awaited_for_ever() -> None:
    async with running_server(env={"MARKETSTREAM_SERVER__BODY_TIMEOUT": "0.3"}) as server:
        head = request(
            "/api/v1/market/search",
            f"Authorization: Bearer {server.token()}",
            "Content-Length: 9",
            method="POST",
        )
        answer = await exchange(server.port, head + b"{", patience=20)
        assert (answer.status, answer.code, answer.ended) == (408, "REQUEST_TIMEOUT", True)


async def test_a_bomb_costs_no_more_than_its_bytes() -> None:
    """A megabyte that holds a gigabyte took a second of everybody's time for each request."""
    bomb = gzip.compress(gzip.compress(bytes(256 * 1024 * 1024), 9), 9) + bytes(900_000)
    packed = gzip.compress(bytes(200 * 1024 * 1024), 9)
    async with running_server() as server:

        async def spent(coding: str, body: bytes) -> float:
            before = await metric(server, "process_cpu_seconds_total")
            for _ in range(8):
                head = request(
                    "/healthz", coding, f"Content-Length: {len(body)}", "Connection: close", method="POST"
                )
                await exchange(server.port, head + body)
            return await metric(server, "process_cpu_seconds_total") - before

        plain = await spent("X-Plain: yes", packed)
        assert await spent("Content-Encoding: gzip", packed) <= plain * 1.5 + 0.1
        assert (
            await spent("Content-Encoding: gzip, gzip", bomb) <= await spent("X-Plain: yes", bomb) * 1.5 + 0.1
        )


async def search(server: Server, body: bytes, *lines: str) -> int:
    """Posts a search and returns the status."""
    head = request(
        "/api/v1/market/search",
        f"Authorization: Bearer {server.token()}",
        "Connection: close",
        *lines,
        method="POST",
    )
    return (await exchange(server.port, head + body)).status


async def test_a_body_in_the_smallest_of_chunks_is_a_body(server: Server) -> None:
    body = b'{"query":"apple","limit":1}'
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert await search(server, chunks, "Transfer-Encoding: chunked") == 200


@pytest.mark.parametrize("how", ["Transfer-Encoding: chunked", "Content-Length: 400000"])
async def test_a_reader_has_less_to_say_than_a_publisher(server: Server, how: str) -> None:
    """What JSON costs is more than its bytes: a megabyte of empty lists is a third of a second."""
    body = b"[" + b"[]," * 133_000 + b"[]]"
    body = body.ljust(400_000)
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if "chunked" in how else body
    assert await search(server, framed, how) == 413
