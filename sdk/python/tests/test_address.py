import pytest

from marketstream_sdk import MarketDataClient
from marketstream_sdk.address import Address


def test_paths_are_below_the_address_whatever_it_is() -> None:
    assert Address.parse("http://127.0.0.1:8080").url("/dev/token") == "http://127.0.0.1:8080/dev/token"
    assert Address.parse(" https://a.example/feed/ ").url("/x") == "https://a.example/feed/x"
    assert Address.parse("http://[::1]:80/a").path("socket.io") == "/a/socket.io"


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ws://a.example",
        "http://",
        "http://a:port",
        "http://a?token=b",
        "http://u:p@a",
        "http://a#b",
    ],
)
def test_what_cannot_be_a_base_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|port|credentials"):
        MarketDataClient(url, token="secret")


def test_a_transport_that_there_is_not_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="'socketio' or 'sse'"):
        MarketDataClient("http://a", token="secret", transport="carrier pigeon")  # type: ignore[arg-type]


def test_a_client_shows_where_it_is_and_never_its_token() -> None:
    assert repr(MarketDataClient("http://a", token="secret")) == "<MarketDataClient http://a idle>"
