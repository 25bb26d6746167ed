import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from marketstream.errors import ConfigurationError, InvalidMessageError, MarketstreamError
from marketstream.publish import Tally, parse_line, publish
from marketstream.publish.direct import PATH, DirectChannel
from tests.support.eventually import eventually, scaled
from tests.support.program import clean_environment

QUOTE = b'{"symbol":"AAPL","source":"x","bid":1,"ask":2,"timestamp":1}'
PRICE = b'{"symbol":"AAPL","bestBid":null,"bestAsk":null,"timestamp":1}'
TOKEN = "a.b.c"


class Receiver:
    """A small real server of the publishing route: it keeps what comes and answers as told."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.answers: list[web.Response] = []
        self.rejects: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda _body: []
        app = web.Application()
        app.router.add_post(f"/prefix{PATH}", self._take)
        app.router.add_post(PATH, self._take)
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers.get("Authorization", ""))
        body = await request.json()
        if self.answers:
            return self.answers.pop(0)
        self.bodies.append(body)
        rejected = self.rejects(body)
        sent = len(body["quotes"]) + len(body["prices"])
        return web.json_response({"accepted": sent - len(rejected), "rejected": rejected})

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return str(self.server.make_url("")).rstrip("/")

    async def run(self, text: bytes, url: str = "") -> tuple[Tally, list[str]]:
        """Publishes a text as a pipe would bring it; returns the tally and what was said."""
        out, into = os.pipe()
        said: list[str] = []
        writing = asyncio.create_task(asyncio.to_thread(_write, into, text))
        try:
            tally = await publish(DirectChannel(url or self.url, TOKEN), out, said.append)
        finally:
            os.close(out)
            with suppress(BrokenPipeError):
                await writing
        return tally, said


def _write(into: int, text: bytes) -> None:
    with os.fdopen(into, "wb") as pipe:
        pipe.write(text)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with receiver.server:
        yield receiver


async def test_quotes_and_prices_are_told_apart_by_their_keys(receiver: Receiver) -> None:
    tally, said = await receiver.run(b"\n".join([QUOTE, PRICE, QUOTE]))
    assert (tally.accepted, tally.bad) == (3, 0)
    (body,) = receiver.bodies
    assert (len(body["quotes"]), len(body["prices"])) == (2, 1)
    assert receiver.headers == [f"Bearer {TOKEN}"]
    assert said == ["3 published, 0 bad"]


async def test_bad_lines_are_reported_by_number_and_cost_only_themselves(receiver: Receiver) -> None:
    lines = [QUOTE, b"{", b"", b"[1]", b'{"symbol":"AAPL"}', PRICE, b"\xff", b'{"source":NaN}']
    tally, said = await receiver.run(b"\n".join(lines))
    assert (tally.accepted, tally.bad) == (2, 5)
    assert [text.split(":")[0] for text in said[:-1]] == ["line 2", "line 4", "line 5", "line 7", "line 8"]
    assert said[-1] == "2 published, 5 bad"


async def test_what_the_server_rejects_is_reported_by_the_number_of_its_line(receiver: Receiver) -> None:
    """The server counts within prices, then quotes; lines come in any order."""
    receiver.rejects = lambda _body: [
        {"index": 1, "error": "second price"},
        {"index": 2, "error": "first quote"},
    ]
    tally, said = await receiver.run(b"\n".join([b"", QUOTE, PRICE, QUOTE, PRICE]))
    assert (tally.accepted, tally.bad) == (2, 2)
    assert said[:-1] == ["line 5: second price", "line 2: first quote"]


async def test_many_lines_travel_in_several_batches_in_order(receiver: Receiver) -> None:
    text = b"".join(b'{"source":"x","symbol":"S%d"}\n' % number for number in range(1234))
    tally, _ = await receiver.run(text)
    assert tally.accepted == 1234
    assert all(len(body["quotes"]) <= 500 for body in receiver.bodies)
    symbols = [quote["symbol"] for body in receiver.bodies for quote in body["quotes"]]
    assert symbols == [f"S{number}" for number in range(1234)]


async def test_large_lines_travel_in_smaller_batches(receiver: Receiver) -> None:
    """However long the lines, a body stays below what a server takes."""
    big = b'{"source":"x","note":"%s"}\n' % (b"x" * 100_000)
    tally, _ = await receiver.run(big * 10 + b'{"source":"%s"}\n' % (b"x" * 300_000))
    assert (tally.accepted, tally.bad) == (10, 1)
    assert max(len(body["quotes"]) for body in receiver.bodies) == 3


async def test_a_line_does_not_wait_for_the_end_of_the_pipe(receiver: Receiver) -> None:
    out, into = os.pipe()
    publishing = asyncio.create_task(publish(DirectChannel(receiver.url, TOKEN), out, lambda _text: None))
    for count in (1, 2):
        os.write(into, QUOTE + b"\n" + QUOTE[:9])
        await eventually(lambda count=count: len(receiver.bodies) == count)  # type: ignore[misc]
        os.write(into, b"\n")
        os.write(into, b"")
    os.close(into)
    await publishing
    os.close(out)


async def test_a_server_that_is_too_busy_is_asked_again(receiver: Receiver) -> None:
    receiver.answers = [web.Response(status=429, headers={"Retry-After": "0"}) for _ in range(3)]
    tally, _ = await receiver.run(QUOTE)
    assert tally.accepted == 1
    assert len(receiver.bodies) == 1


async def test_a_kept_connection_that_the_server_closed_is_opened_anew(receiver: Receiver) -> None:
    """It was closed while nothing was sent, and without a word in the answer before."""
    answer = b'{"accepted":0,"rejected":[]}'
    connections = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.findall(rb"Content-Length: (\d+)", head)[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
        writer.close()

    async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        tally, _ = await receiver.run((QUOTE + b"\n") * 1600, f"http://{host}:{port}")
    assert tally.accepted == 1600
    assert connections == 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.Response(status=401), "token"),
        (web.Response(status=403), "market:publish"),
        (web.Response(status=413), "max_body"),
        (web.Response(status=404), "404"),
        (web.Response(status=500), "500"),
        (web.Response(status=302, headers={"Location": "/"}), "302"),
        (web.Response(text="hello"), "not that of a marketstream server"),
        (web.json_response([]), "not that of a marketstream server"),
        (web.json_response({"rejected": [{"index": 1, "error": "x"}]}), "not that of a marketstream server"),
        (web.json_response({"rejected": [{"index": -1, "error": "x"}]}), "not that of a marketstream server"),
        (
            web.json_response({"rejected": [{"index": "0", "error": "x"}]}),
            "not that of a marketstream server",
        ),
    ],
    ids=str,
)
async def test_an_answer_that_ends_it_is_a_sentence(
    receiver: Receiver, answer: web.Response, words: str
) -> None:
    receiver.answers = [answer]
    with pytest.raises(MarketstreamError, match=words) as ended:
        await receiver.run(QUOTE)
    assert not isinstance(ended.value, ConfigurationError)


async def test_a_server_that_stays_too_busy_ends_it(receiver: Receiver) -> None:
    receiver.answers = [web.Response(status=429, headers={"Retry-After": "0"}) for _ in range(99)]
    with pytest.raises(MarketstreamError, match="429"):
        await receiver.run(QUOTE)


async def test_an_address_where_nobody_listens_is_a_sentence(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(MarketstreamError, match=f"cannot publish to {url}: Connection refused"):
        await receiver.run(QUOTE, url)


async def test_a_server_that_is_started_again_between_two_batches_is_found_again() -> None:
    """It was met: so it is worth waiting for, which one that never answered is not."""
    first, second = Receiver(), Receiver()
    out, into = os.pipe()
    said: list[str] = []
    await first.server.start_server()
    port = first.server.port
    publishing = asyncio.create_task(publish(DirectChannel(first.url, TOKEN), out, said.append))
    os.write(into, QUOTE + b"\n")
    await eventually(lambda: first.bodies, what="the first batch")
    await first.server.close()
    os.write(into, PRICE + b"\n")
    os.close(into)
    await asyncio.sleep(scaled(0.3))
    assert not publishing.done()
    second.server.port = port
    await second.server.start_server()
    await publishing
    await second.server.close()
    os.close(out)
    assert said == ["2 published, 0 bad"]
    assert len(second.bodies[0]["prices"]) == 1


async def test_an_address_may_have_a_path_before_the_route(receiver: Receiver) -> None:
    tally, _ = await receiver.run(QUOTE, f"{receiver.url}/prefix/")
    assert tally.accepted == 1


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://host", "http://", "http://host:port", "http://[::1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        DirectChannel(url, TOKEN)


@pytest.mark.parametrize("token", ["a\nb", "é"])
def test_what_is_no_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        DirectChannel("http://127.0.0.1:1", token)
    assert token not in str(refused.value)


def test_a_price_that_also_names_a_source_is_a_price() -> None:
    assert parse_line(1, b'{"bestAsk":null,"source":"x"}').is_price
    assert not parse_line(1, b'{"source":"x"}').is_price
    with pytest.raises(InvalidMessageError, match="neither"):
        parse_line(1, b"{}")


@pytest.mark.parametrize(
    ("text", "code"), [(QUOTE + b"\n" + PRICE, 0), (QUOTE + b"\nnonsense\n", 1), (b"", 0)]
)
async def test_the_command_exits_with_1_when_a_line_was_bad(
    receiver: Receiver, text: bytes, code: int
) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "marketstream", "publish", "--url", receiver.url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment({"MARKETSTREAM_TOKEN": TOKEN}),
    )
    out, err = await program.communicate(text)
    assert program.returncode == code
    assert out == b""
    assert b"published" in err
    assert (b"line 2: " in err) is bool(code)


async def test_the_command_ends_with_the_pipe_still_open_when_the_server_is_not_there() -> None:
    """One sentence, exit 1, and no wait for input that can go nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "marketstream", "publish", "--url", url),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment({"MARKETSTREAM_TOKEN": TOKEN}),
    )
    assert program.stdin is not None
    assert program.stderr is not None
    program.stdin.write(QUOTE + b"\n")
    err = await program.stderr.read()
    assert await program.wait() == 1
    assert err.decode().splitlines() == [
        "0 published, 0 bad",
        f"marketstream: cannot publish to {url}: Connection refused",
    ]
    program.stdin.close()
