"""The one policy of sending HTTP requests again, against real servers that are not well."""

import asyncio
import time
from collections.abc import Callable

import pytest
from aiohttp import ClientConnectorError, ServerDisconnectedError, TCPConnector, web
from aiohttp_retry import RetryClient
from pytest_aiohttp import AiohttpServer

from marketstream.retry import Retry, retry_after
from tests.support.eventually import scaled
from tests.support.server import free_port

FEBRUARY_5 = 1_738_756_800_000
AGAIN = {"Retry-After": "0"}


class Moody:
    """A server that answers as told, then with 200; None stands for hanging up.

    Attributes:
        answers: What is left to answer.
        asked: Methods of all requests that came.
        url: Where it listens.
    """

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.headers: dict[str, str] = dict(AGAIN)
        self.asked: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Answers in the present mood."""
        self.asked.append(request.method)
        status = self.answers.pop(0) if self.answers else 200
        if status is None:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=status or 200, headers=self.headers, body=b"x" * 2_000_000)


@pytest.fixture
async def moody(aiohttp_server: AiohttpServer) -> Moody:
    moody = Moody()
    app = web.Application()
    app.router.add_route("*", "/", moody.answer)
    moody.url = str((await aiohttp_server(app)).make_url("/"))
    return moody


def policy(**rules: object) -> Retry:
    """A policy that does not wait long."""
    return Retry(**{"first": 0.001, "chance": lambda: 0.0} | rules)  # type: ignore[arg-type]  # as given


def counting(waits: list[int]) -> Callable[[], float]:
    """No jitter, and an entry for each wait."""

    def chance() -> float:
        waits.append(1)
        return 0.0

    return chance


async def status_of(method: str, url: str, retry: Retry) -> int:
    async with RetryClient(retry_options=retry) as client, client.request(method, url) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_was_refused_is_sent_again_whatever_it_is(moody: Moody, method: str) -> None:
    """429 says that nothing was done."""
    moody.answers = [429, 429]
    assert await status_of(method, moody.url, policy()) == 200
    assert moody.asked == [method] * 3


@pytest.mark.parametrize(
    ("method", "repeatable", "sent"),
    [("GET", False, 2), ("PUT", False, 2), ("POST", False, 1), ("PATCH", False, 1), ("POST", True, 2)],
)
async def test_what_may_have_been_done_is_sent_again_only_if_it_may_be_done_twice(
    moody: Moody, *, method: str, repeatable: bool, sent: int
) -> None:
    moody.answers = [503]
    assert await status_of(method, moody.url, policy(repeatable=repeatable)) == (200 if sent > 1 else 503)
    assert len(moody.asked) == sent


async def test_a_request_whose_answer_was_lost_is_sent_again_only_if_it_may_arrive_twice(
    moody: Moody,
) -> None:
    """aiohttp-retry would send it again whatever its method."""
    moody.answers = [None]
    with pytest.raises(ServerDisconnectedError):
        await status_of("POST", moody.url, policy())
    assert moody.asked == ["POST"]
    moody.answers = [None]
    assert await status_of("POST", moody.url, policy(repeatable=True)) == 200
    assert moody.asked == ["POST"] * 3


async def test_where_nobody_listens_any_request_is_tried_again() -> None:
    """It cannot have arrived."""
    waited: list[int] = []
    retry = policy(attempts=4, chance=counting(waited))
    with pytest.raises(ClientConnectorError):
        await status_of("POST", f"http://127.0.0.1:{free_port()}/", retry)
    assert len(waited) == 3


async def test_a_first_loss_can_be_made_final() -> None:
    waited: list[int] = []
    retry = policy(unanswered=False, chance=counting(waited))
    with pytest.raises(ClientConnectorError):
        await status_of("GET", f"http://127.0.0.1:{free_port()}/", retry)
    assert waited == []


async def test_the_last_of_all_attempts_is_answered_with_what_came(moody: Moody) -> None:
    moody.answers = [429] * 9
    assert await status_of("GET", moody.url, policy(attempts=4)) == 429
    assert len(moody.asked) == 4


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 500, 501])
async def test_an_answer_that_another_attempt_would_not_change_is_final(moody: Moody, status: int) -> None:
    moody.answers = [status]
    assert await status_of("GET", moody.url, policy(repeatable=True)) == status
    assert len(moody.asked) == 1


async def test_nobody_is_asked_before_the_time_that_was_named(moody: Moody) -> None:
    moody.answers = [429]
    moody.headers = {"Retry-After": "1"}
    began = time.monotonic()
    assert await status_of("GET", moody.url, policy()) == 200
    assert time.monotonic() - began >= 1


async def test_an_answer_that_names_a_time_too_far_away_is_final(moody: Moody) -> None:
    """Asking sooner would be worse than giving up."""
    moody.answers = [429]
    moody.headers = {"Retry-After": "11"}
    async with asyncio.timeout(scaled(10)):
        assert await status_of("GET", moody.url, policy(longest=10)) == 429
    assert len(moody.asked) == 1


async def test_a_refused_attempt_keeps_no_connection(moody: Moody) -> None:
    """aiohttp-retry keeps the answers that it does not return: with one connection it would block itself."""
    moody.answers = [429] * 5
    client = RetryClient(retry_options=policy(attempts=6), connector=TCPConnector(limit=1))
    async with asyncio.timeout(scaled(5)), client, client.get(moody.url) as response:
        assert response.status == 200


def test_waits_double_up_to_a_bound_and_are_spread() -> None:
    waits = [Retry(first=0.5, most=3, chance=lambda: 0.0).get_timeout(attempt) for attempt in range(1, 6)]
    assert waits == [0.5, 1, 2, 3, 3]
    assert Retry(first=1, chance=lambda: 1.0).get_timeout(1) == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("99999999999", 86_400),
        ("9" * 400, 86_400),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("Wed, 05 Feb 2025 12:00:30 GMT", 30),
        ("Wed, 05 Feb 2025 12:00:30 -0000", 30),
        ("Wed, 05 Feb 2025 11:59:00 GMT", 0),
        ("Wed, 05 Feb 2099 12:00:00 GMT", 86_400),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, FEBRUARY_5) == seconds
