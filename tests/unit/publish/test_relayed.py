"""The channel through Redis, with a small answering thread in the place of a server."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from marketstream.errors import ConfigurationError, MarketstreamError
from marketstream.publish import Tally, publish
from marketstream.publish.relayed import RelayedChannel
from marketstream.wire import forwarded, keys
from tests.support.eventually import eventually, scaled
from tests.support.program import clean_environment
from tests.support.valkey import Valkey, running_valkey

QUOTE = b'{"symbol":"AAPL","source":"x","bid":1,"ask":2,"timestamp":1}'
PRICE = b'{"symbol":"AAPL","bestBid":null,"bestAsk":null,"timestamp":1}'
NOBODY = "no server on this bus takes publications"


class Owner:
    """Answers requests as a server that feeds the market would.

    Attributes:
        requests: Every request that came.
        rejects: What is rejected of a body.
        answers: What is sent instead, while there is any: bytes, or None for no answer.
    """

    def __init__(self, valkey: Valkey) -> None:
        self.requests: list[forwarded.Request] = []
        self.answers: list[Callable[[forwarded.Request], bytes] | None] = []
        self.rejects: list[dict[str, Any]] = []
        self._client = valkey.client()
        self._inbox = self._client.pubsub()  # type: ignore[no-untyped-call]  # redis-py's types are not complete
        self._inbox.subscribe(keys.FORWARD)
        assert self._inbox.get_message(timeout=scaled(5)) is not None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests."""
        return [json.loads(request.body) for request in self.requests]

    def close(self) -> None:
        """Answers nothing more."""
        self._over.set()
        self._thread.join()
        self._inbox.close()
        self._client.close()

    def _work(self) -> None:
        while not self._over.is_set():
            message = self._inbox.get_message(timeout=0.02)
            if message is None or message["type"] != "message":
                continue
            request = forwarded.parse_request(message["data"])
            self.requests.append(request)
            say = self.answers.pop(0) if self.answers else self._answer
            if say is not None:
                self._client.publish(request.reply, say(request))

    def _answer(self, request: forwarded.Request) -> bytes:
        body = json.loads(request.body)
        accepted = len(body["quotes"]) + len(body["prices"]) - len(self.rejects)
        answer = {"accepted": accepted, "rejected": self.rejects}
        return forwarded.answer(request.number, 200, json.dumps(answer).encode())


@pytest.fixture
def owner(valkey: Valkey) -> Iterator[Owner]:
    """One who takes publications."""
    owner = Owner(valkey)
    yield owner
    owner.close()


@contextmanager
def piped(text: bytes) -> Iterator[int]:
    """A file descriptor to read a text from."""
    out, into = os.pipe()
    os.write(into, text)
    os.close(into)
    try:
        yield out
    finally:
        os.close(out)


async def run(
    valkey: Valkey, text: bytes, *, patience: float = 30, answer_seconds: float = 10
) -> tuple[Tally, list[str]]:
    """Publishes a text as a pipe would bring it; returns the tally and what was said.

    Args:
        valkey: What it is published through.
        text: The lines.
        patience: Seconds until a batch is given up, before scaling.
        answer_seconds: Seconds until a request is sent again, before scaling: long where one must be enough.
    """
    said: list[str] = []
    with piped(text) as out:
        channel = RelayedChannel(valkey.url, patience=scaled(patience), answer_seconds=scaled(answer_seconds))
        return await publish(channel, out, said.append), said


def refused(status: int, body: bytes) -> Callable[[forwarded.Request], bytes]:
    return lambda request: forwarded.answer(request.number, status, body)


async def test_quotes_and_prices_arrive_as_a_publication(valkey: Valkey, owner: Owner) -> None:
    tally, said = await run(valkey, b"\n".join([QUOTE, PRICE, QUOTE]))
    assert (tally.accepted, tally.bad) == (3, 0)
    assert said == ["3 published, 0 bad"]
    [body] = owner.bodies
    assert body == {"quotes": [json.loads(QUOTE)] * 2, "prices": [json.loads(PRICE)]}


async def test_what_is_rejected_is_reported_by_the_number_of_its_line(valkey: Valkey, owner: Owner) -> None:
    owner.rejects = [{"index": 1, "error": "second price"}, {"index": 2, "error": "first quote"}]
    tally, said = await run(valkey, b"\n".join([b"", QUOTE, PRICE, b"{", QUOTE, PRICE]))
    assert (tally.accepted, tally.bad) == (2, 3)
    assert said[1:3] == ["line 6: second price", "line 2: first quote"]
    assert said[0].startswith("line 4: ")


async def test_many_batches_have_numbers_of_their_own_and_one_channel(valkey: Valkey, owner: Owner) -> None:
    text = b"".join(b'{"source":"x","symbol":"S%d"}\n' % number for number in range(1_234))
    tally, _ = await run(valkey, text)
    assert tally.accepted == 1_234
    assert [request.number for request in owner.requests] == [1, 2, 3]
    assert len({request.reply for request in owner.requests}) == 1
    assert [quote["symbol"] for body in owner.bodies for quote in body["quotes"]] == [
        f"S{number}" for number in range(1_234)
    ]


async def test_a_request_that_is_not_answered_is_sent_again_under_its_number(
    valkey: Valkey, owner: Owner
) -> None:
    owner.answers = [None, None]
    tally, _ = await run(valkey, QUOTE, answer_seconds=0.1)
    assert tally.accepted == 1
    assert len(owner.requests) >= 3
    assert {request.number for request in owner.requests} == {1}


async def test_a_late_answer_to_another_request_is_passed_over(valkey: Valkey, owner: Owner) -> None:
    owner.answers = [lambda request: forwarded.answer(request.number + 7, 200, b"{}")]
    tally, _ = await run(valkey, QUOTE, answer_seconds=0.1)
    assert tally.accepted == 1
    assert len(owner.requests) >= 2


async def test_one_that_cannot_take_it_just_now_is_asked_again(valkey: Valkey, owner: Owner) -> None:
    owner.answers = [refused(503, b'{"error":{"code":"UNAVAILABLE","message":"not now"}}')]
    tally, _ = await run(valkey, QUOTE)
    assert tally.accepted == 1


@pytest.mark.parametrize(
    "url", ["memory://", "nats://host", "redis://secret@host:port", "redis+sentinel://a"]
)
def test_what_nobody_else_can_reach_is_refused_in_a_sentence(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused_url:
        RelayedChannel(url)
    assert "secret" not in str(refused_url.value)


async def test_a_bus_without_a_server_ends_it_with_a_sentence(valkey: Valkey) -> None:
    with pytest.raises(MarketstreamError, match=NOBODY):
        await run(valkey, QUOTE, patience=0.2, answer_seconds=0.05)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            refused(400, b'{"error":{"code":"INVALID_MESSAGE","message":"the body is bad"}}'),
            "status 400: the body is bad",
        ),
        (refused(500, b"oh"), "status 500: it does not say why"),
        (refused(200, b"oh"), "not that of a marketstream server"),
        (refused(200, b'{"rejected":[{"index":1,"error":"x"}]}'), "not that of a marketstream server"),
        (lambda _request: b"garbage", "not that of a marketstream server"),
    ],
    ids=["400", "500", "no JSON", "index", "no answer"],
)
async def test_an_answer_that_ends_it_is_a_sentence(
    valkey: Valkey, owner: Owner, answer: Callable[[forwarded.Request], bytes], words: str
) -> None:
    owner.answers = [answer]
    with pytest.raises(MarketstreamError, match=words):
        await run(valkey, QUOTE)
    assert len(owner.requests) == 1


async def test_a_redis_that_is_not_there_ends_it_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"redis://127.0.0.1:{taken.getsockname()[1]}/0"
    with piped(QUOTE) as out, pytest.raises(MarketstreamError, match=r"through Redis: .*refused"):
        await publish(RelayedChannel(url, patience=600), out, print)


async def test_a_redis_that_is_restarted_between_two_batches_is_found_again() -> None:
    with running_valkey() as valkey:
        channel = RelayedChannel(valkey.url, patience=scaled(10), answer_seconds=scaled(0.1))
        said: list[str] = []
        out, into = os.pipe()
        before = Owner(valkey)
        publishing = asyncio.create_task(publish(channel, out, said.append))
        os.write(into, QUOTE + b"\n")
        await eventually(lambda: before.requests, what="the first batch")
        await asyncio.to_thread(before.close)
        valkey.kill()
        os.write(into, PRICE + b"\n")
        os.close(into)
        valkey.start()
        after = Owner(valkey)
        async with asyncio.timeout(scaled(15)):
            tally = await publishing
        await asyncio.to_thread(after.close)
        os.close(out)
        assert said == ["2 published, 0 bad"]
        assert tally.accepted == 2
        assert after.bodies[-1]["prices"] == [json.loads(PRICE)]


def test_the_command_needs_no_token(valkey: Valkey, owner: Owner) -> None:
    command = (sys.executable, "-m", "marketstream", "publish", "--bus", valkey.url)
    result = subprocess.run(
        command, input=QUOTE + b"\nnonsense\n", capture_output=True, check=False, env=clean_environment()
    )
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.splitlines()[-1] == b"1 published, 1 bad"
    assert len(owner.requests) == 1
