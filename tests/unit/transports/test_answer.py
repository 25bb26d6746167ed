"""How an HTTP edge says that something went wrong."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from marketstream.errors import (
    InvalidMessageError,
    MarketstreamError,
    NotEntitledError,
    RateLimitedError,
    UnauthorizedError,
    UnavailableError,
)
from marketstream.transports.answer import Answers
from marketstream.transports.origin import OriginPolicy

FAILURES: dict[str, Exception] = {
    "message": InvalidMessageError("bid must be a number", path="quotes[3].bid"),
    "token": UnauthorizedError("a token is required"),
    "scope": NotEntitledError("scope admin is required"),
    "rate": RateLimitedError(1_500),
    "away": UnavailableError("not now"),
    "fault": MarketstreamError("a secret path of ours"),
    "crash": ZeroDivisionError("a secret figure of ours"),
}


async def _fail(request: web.Request) -> web.Response:
    raise FAILURES[request.match_info["what"]]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server whose handlers fail as asked."""
    app = web.Application()
    app.router.add_get("/{what}", _fail)
    runner = web.AppRunner(app)
    await runner.setup()
    Answers(OriginPolicy(["https://shop.example"])).attach(runner)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("what", "status", "error", "retry"),
    [
        (
            "message",
            400,
            {
                "code": "INVALID_MESSAGE",
                "message": "bid must be a number",
                "details": {"path": "quotes[3].bid"},
            },
            None,
        ),
        ("token", 401, {"code": "UNAUTHORIZED", "message": "a token is required"}, None),
        ("scope", 403, {"code": "NOT_ENTITLED", "message": "scope admin is required"}, None),
        ("rate", 429, {"code": "RATE_LIMITED", "message": "Rate limit exceeded"}, "2"),
        ("away", 503, {"code": "UNAVAILABLE", "message": "not now"}, "5"),
        ("fault", 500, {"code": "INTERNAL", "message": "internal error"}, None),
        ("crash", 500, {"code": "INTERNAL", "message": "internal error"}, None),
    ],
)
async def test_a_failure_is_told_in_one_shape(
    url: str, what: str, status: int, error: dict[str, object], retry: str | None
) -> None:
    """What is ours to know stays inside; when to come back is said where that helps."""
    async with ClientSession() as session, session.get(f"{url}/{what}") as response:
        assert response.status == status
        assert await response.json() == {"error": error}
        assert response.headers.get("Retry-After") == retry


async def test_a_path_that_does_not_exist_is_told_in_the_same_shape(url: str) -> None:
    async with ClientSession() as session, session.get(f"{url}/no/such") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "NOT_FOUND"


async def test_an_allowed_page_may_read_a_failure_too(url: str) -> None:
    headers = {"Origin": "https://shop.example"}
    async with ClientSession() as session, session.get(f"{url}/token", headers=headers) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
