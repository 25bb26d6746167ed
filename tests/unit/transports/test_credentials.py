import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from marketstream.errors import UnauthorizedError
from marketstream.transports.credentials import Credentials


def request(path: str = "/", authorization: str | None = None) -> web.Request:
    headers = {} if authorization is None else {"Authorization": authorization}
    return make_mocked_request("GET", path, headers=headers)


def test_what_the_protocol_carried_comes_first_then_the_header_then_the_query() -> None:
    find = Credentials().find
    assert find(request("/?token=query", "Bearer header"), "given") == "given"
    assert find(request("/?token=query", "Bearer header")) == "header"
    assert find(request("/?token=query")) == "query"


@pytest.mark.parametrize("given", [None, "", 5, ["token"], {"token": "x"}, True])
def test_what_is_no_token_does_not_hide_one(given: object) -> None:
    assert Credentials().find(request("/?token=query"), given) == "query"


@pytest.mark.parametrize("header", ["bearer header", "BEARER header", "Bearer   header  "])
def test_the_scheme_may_be_written_in_any_case(header: str) -> None:
    assert Credentials().find(request(authorization=header)) == "header"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "header", "Bearerheader"])
def test_another_header_is_no_token(header: str) -> None:
    with pytest.raises(UnauthorizedError):
        Credentials().find(request(authorization=header))
    assert Credentials().find(request("/?token=query", header)) == "query"


@pytest.mark.parametrize("path", ["/", "/?token=", "/?tok=x"])
def test_without_a_token_there_is_no_way_in(path: str) -> None:
    with pytest.raises(UnauthorizedError):
        Credentials().find(request(path))


def test_a_token_in_the_query_can_be_switched_off() -> None:
    closed = Credentials(allow_query_token=False)
    with pytest.raises(UnauthorizedError):
        closed.find(request("/?token=query"))
    assert closed.find(request("/?token=query", "Bearer header")) == "header"
    assert closed.in_request(request("/?token=query")) is None
