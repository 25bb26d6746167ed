from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from marketstream.transports.address import AddressReader
from marketstream.transports.origin import EXPOSED_HEADERS, OriginPolicy

PAGE = "http://localhost:3000"


VARY = [("Vary", "Origin")]


def request(origin: str | None, host: str = "api.example.com", **headers: str) -> web.Request:
    sent = {"Host": host} | ({} if origin is None else {"Origin": origin})
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("OPTIONS", "/", headers=sent).clone(remote="10.0.0.1")


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        (PAGE, PAGE),
        (PAGE + "/", PAGE),
        ("HTTP://LocalHost:3000", PAGE),
        ("https://App.Example.com", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80/", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[0:0::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_a_page_that_is_named_may_connect(written: str, origin: str) -> None:
    """However it was written: browsers send lower case, ASCII, and no port that goes without saying."""
    assert OriginPolicy([written]).allows(request(origin))


@pytest.mark.parametrize(
    "written",
    [
        *("app.example.com", "localhost:3000", "", "null", "https://", "https://a b", "//app.example.com"),
        *("https://app.example.com/app", "https://app.example.com?x", "https://user@app.example.com"),
        *("https://*", "https://app.*.com", "https://*app.example.com", "*.example.com", "https://*.1.2.3.4"),
        *("https://app.example.com:port", "https://app.example.com:99999", "https://[::g]", "https://a..b"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(written: str) -> None:
    """A rule that can never match is a mistake, and a silent one."""
    with pytest.raises(ValueError, match=r"."):
        OriginPolicy([written])


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.com", True),
        ("https://a.b.example.com", True),
        ("https://example.com", False),
        ("http://app.example.com", False),
        ("https://app.example.com:8443", False),
        ("https://evilexample.com", False),
        ("https://app.example.com.evil.com", False),
        ("https://evil.com/.example.com", False),
        ("https://evil.com#.example.com", False),
        ("https://.example.com", False),
    ],
)
def test_a_star_in_front_stands_for_every_subdomain(origin: str, *, allowed: bool) -> None:
    assert OriginPolicy(["https://*.example.com"]).allows(request(origin)) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        *[
            (origin, True)
            for origin in (
                "http://localhost:5173",
                "https://localhost",
                "http://app.localhost:1",
                "http://127.0.0.1:8081",
                "http://127.9.9.9",
                "http://[::1]:3000",
            )
        ],
        *[
            (origin, False)
            for origin in (
                "http://localhost.evil.com",
                "http://127.0.0.1.nip.io",
                "http://evil.com",
                "null",
                "http://localhost:1@evil.com",
                "http://10.0.0.1",
                "http://0.0.0.0",
            )
        ],
    ],
)
def test_in_development_every_page_of_this_machine_may(origin: str, *, allowed: bool) -> None:
    assert OriginPolicy([], loopback=True).allows(request(origin)) is allowed
    assert not OriginPolicy([]).allows(request(origin))


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
    assert policy.headers(request(origin)) == VARY


def test_a_program_without_a_page_may() -> None:
    policy = OriginPolicy([])
    assert policy.allows(request(None))
    assert policy.headers(request(None)) == VARY


def test_the_servers_own_page_may() -> None:
    """Whatever port goes without saying, and however a proxy that is trusted says it was called."""
    policy = OriginPolicy([], addresses=AddressReader([ip_network("10.0.0.0/8")]))
    own = "https://api.example.com"
    assert OriginPolicy([]).allows(request(own))
    assert OriginPolicy([]).allows(request(own, "API.example.com:443"))
    assert policy.allows(request(own, "inside:8080", X_Forwarded_Host="api.example.com"))
    assert policy.allows(request(own, "inside:8080", Forwarded='for=1.2.3.4;host="api.example.com:443"'))
    assert not policy.allows(
        request("https://inside:8080", "inside:8080", X_Forwarded_Host="api.example.com")
    )
    assert not OriginPolicy([]).allows(request(own, "inside:8080", X_Forwarded_Host="api.example.com"))


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


def test_a_page_may_send_what_tracing_and_caching_add_and_what_is_configured() -> None:
    response = OriginPolicy([PAGE], request_headers=["X-Shop"]).preflight(request(PAGE))
    allowed = {name.lower() for name in response.headers["Access-Control-Allow-Headers"].split(", ")}
    assert allowed >= {"if-none-match", "cache-control", "x-requested-with", "x-shop"}
    assert allowed >= {"traceparent", "tracestate", "baggage", "sentry-trace"}


def test_cookies_are_a_setting() -> None:
    name = "Access-Control-Allow-Credentials"
    policy = OriginPolicy([PAGE], credentials=True)
    assert policy.preflight(request(PAGE)).headers[name] == "true"
    assert dict(policy.headers(request(PAGE)))[name] == "true"
    assert name not in policy.preflight(request("http://evil.example")).headers
    assert name not in OriginPolicy([PAGE]).preflight(request(PAGE)).headers


def test_a_preflight_of_another_page_allows_nothing() -> None:
    response = OriginPolicy([PAGE]).preflight(request("http://evil.example"))
    assert not [name for name in response.headers if name.startswith("Access-Control")]
