import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from marketstream.transports.origin import EXPOSED_HEADERS, OriginPolicy

PAGE = "http://localhost:3000"


def request(origin: str | None, host: str = "api.example.com") -> web.Request:
    headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
    return make_mocked_request("OPTIONS", "/", headers=headers)


@pytest.mark.parametrize("written", [PAGE, PAGE + "/"])
def test_a_page_that_is_named_may_connect(written: str) -> None:
    assert OriginPolicy([written]).allows(request(PAGE))


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "http://evil.example",
            "https://localhost:3000",
            "http://localhost:30000",
            "http://localhost",
            "null",
            "",
        ),
        *("http://localhost:3000.evil.example", "http://api.example.com.evil.example", "api.example.com"),
    ],
)
def test_no_other_page_may(origin: str) -> None:
    policy = OriginPolicy([PAGE])
    assert not policy.allows(request(origin))
    assert policy.headers(request(origin)) == []


def test_a_program_without_a_page_may() -> None:
    policy = OriginPolicy([])
    assert policy.allows(request(None))
    assert policy.headers(request(None)) == []


def test_the_servers_own_page_may() -> None:
    assert OriginPolicy([]).allows(request("https://api.example.com"))


def test_a_star_lets_every_page_in() -> None:
    assert OriginPolicy(["*"]).allows(request("http://evil.example"))


def test_an_allowed_page_may_read_the_answer_and_a_cache_keeps_answers_apart() -> None:
    headers = dict(OriginPolicy([PAGE]).headers(request(PAGE)))
    assert headers == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        "Vary": "Origin",
    }


def test_a_preflight_says_what_an_allowed_page_may_send() -> None:
    response = OriginPolicy([PAGE]).preflight(request(PAGE))
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert {"GET", "POST"} <= set(response.headers["Access-Control-Allow-Methods"].split(", "))
    allowed = set(response.headers["Access-Control-Allow-Headers"].split(", "))
    assert {"Authorization", "Content-Type", "Last-Event-ID"} <= allowed


def test_a_preflight_of_another_page_allows_nothing() -> None:
    response = OriginPolicy([PAGE]).preflight(request("http://evil.example"))
    assert not [name for name in response.headers if name.startswith("Access-Control")]
