"""Bodies in two pieces, and the tag of the one that stays."""

from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from marketstream.transports.rest import schema
from marketstream.transports.rest.reply import aged, reply, write
from marketstream.wire.json import loads
from tests.support.providers import given_quote

ORIGIN = {
    "data_source": "yahoo",
    "status": "ok",
    "last_updated": "2023-11-14T22:13:20.000+00:00",
    "age_seconds": 1.5,
    "retry_attempts": 2,
}


def quote(price: float = 150.0, **origin: object) -> schema.QuoteAnswer:
    return schema.QuoteAnswer.model_validate(schema.quoted(given_quote(price=price)) | ORIGIN | origin)


def ask(method: str = "GET", **headers: str) -> web.Request:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request(method, "/", headers=given)


def test_the_two_pieces_of_a_body_are_the_whole_answer() -> None:
    answer = quote(status="partial_data", warning="all_providers_failed")
    assert loads(write(answer).whole) == answer.model_dump(by_alias=True)


def test_an_answer_without_an_origin_is_in_one_piece() -> None:
    answer = schema.ProvidersAnswer(providers=[])
    assert write(answer).whole == b'{"providers":[]}'


def test_nothing_is_said_of_a_warning_that_there_is_not() -> None:
    assert "warning" not in loads(write(quote()).whole)


def test_an_answer_that_got_older_is_the_same_but_for_its_age() -> None:
    body = write(quote())
    older = aged(body, 60.25, 0)
    assert loads(older.whole) == loads(body.whole) | {"age_seconds": 60.25, "retry_attempts": 0}
    assert older.etag == body.etag


@pytest.mark.parametrize(
    "other",
    [
        quote(151.0),
        quote(data_source="fmp"),
        quote(last_updated="2023-11-14T22:13:21.000+00:00"),
        quote(status="partial_data", warning="external_api_timeout"),
    ],
)
def test_an_answer_that_says_something_else_has_another_tag(other: schema.QuoteAnswer) -> None:
    assert write(other).etag != write(quote()).etag
    assert write(quote(age_seconds=9, retry_attempts=0)).etag == write(quote()).etag


@pytest.mark.parametrize("held", ["{tag}", 'W/"other", {tag}', "*", '"{bare}"'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_holds_it_is_sent_nothing(held: str, method: str) -> None:
    body = write(quote())
    tag = f'W/"{body.etag}"'
    response = reply(ask(method, If_None_Match=held.format(tag=tag, bare=body.etag)), aged(body, 9, 0), 51)
    assert (response.status, response.body) == (304, None)
    assert (response.headers["ETag"], response.headers["Cache-Control"]) == (tag, "private, max-age=51")


@pytest.mark.parametrize(
    "request_",
    [ask(), ask(If_None_Match='W/"other"'), ask(If_None_Match="nonsense"), ask("POST", If_None_Match="*")],
)
def test_every_other_client_is_sent_all_of_it(request_: web.Request) -> None:
    body = write(quote())
    response = reply(request_, body, 0, 201)
    assert (response.status, response.body, response.content_type) == (201, body.whole, "application/json")
    assert response.headers["Cache-Control"] == "private, no-cache"


def test_a_body_is_never_changed() -> None:
    body = write(quote())
    aged(body, 9, 9)
    assert body == replace(body)
    with pytest.raises(AttributeError):
        body.etag = "x"  # type: ignore[misc]  # that it cannot be done is the point
