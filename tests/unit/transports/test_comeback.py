"""Who is made to come back, and after which pause."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from marketstream.errors import AuthFailedError, ConnectionLimitError, MarketstreamError, UnavailableError
from marketstream.transports.comeback import LONGEST_MS, Comeback, is_event_source

BROWSER = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}


def request(headers: dict[str, str], path: str = "/market-data/stream?symbols=A&token=t") -> web.Request:
    return make_mocked_request("GET", path, headers=headers)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (BROWSER, True),
        ({"Accept": "text/event-stream"}, True),
        (BROWSER | {"Authorization": "Bearer t"}, True),
        ({"Accept": "text/event-stream", "Authorization": "Bearer t"}, False),
        ({"Accept": "text/event-stream", "Authorization": "Bearer t", "Cache-Control": "no-store"}, False),
        (BROWSER | {"Accept": "text/event-stream, application/json"}, False),
        ({"Accept": "*/*"}, False),
        ({}, False),
    ],
    ids=["browser", "token in url", "npm", "fetch-event-source", "httpx-sse", "sdk", "curl", "none"],
)
def test_an_event_source_is_known_by_what_it_sends(headers: dict[str, str], *, expected: bool) -> None:
    assert is_event_source(request(headers)) is expected


def retry(answer: web.Response | None) -> int:
    assert answer is not None
    assert isinstance(answer.body, bytes)
    first, second, *_ = answer.body.decode().split("\n")
    assert second == "event: error"
    return int(first.removeprefix("retry: "))


def test_who_is_sent_away_again_and_again_waits_longer_each_time_up_to_a_limit() -> None:
    comeback = Comeback(retry_ms=3_000, now=lambda: 0.0, chance=lambda: 0.0)
    error = ConnectionLimitError("full")
    waits = [retry(comeback.answer(request(BROWSER), "a", error)) for _ in range(40)]
    assert waits[:6] == [3_000, 6_000, 12_000, 24_000, 48_000, LONGEST_MS]
    assert set(waits[6:]) == {LONGEST_MS}
    assert retry(comeback.answer(request(BROWSER), "b", error)) == 3_000
    assert retry(comeback.answer(request(BROWSER, "/other"), "a", error)) == 3_000


def test_waits_are_spread_and_forgotten() -> None:
    now = [0.0]
    comeback = Comeback(retry_ms=1_000, now=lambda: now[0], chance=lambda: 1.0)
    assert retry(comeback.answer(request(BROWSER), "a", UnavailableError("down"))) == 1_250
    now[0] = 1_000.0
    assert retry(comeback.answer(request(BROWSER), "a", UnavailableError("down"))) == 1_250


@pytest.mark.parametrize(
    ("headers", "error"), [({}, UnavailableError("down")), (BROWSER, AuthFailedError("no good"))]
)
def test_others_and_what_is_final_get_the_status(headers: dict[str, str], error: MarketstreamError) -> None:
    comeback = Comeback(retry_ms=1_000, now=lambda: 0.0, chance=lambda: 0.0)
    assert comeback.answer(request(headers), "a", error) is None
