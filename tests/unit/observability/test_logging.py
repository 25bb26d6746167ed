import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from marketstream.observability.logging import configure
from marketstream.observability.text import mask

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl-_"
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leaves the log of the test run as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def events(captured: Captured) -> list[dict[str, Any]]:
    out, err = captured.readouterr()
    assert out == "", "stdout belongs to the output of commands"
    return [json.loads(line) for line in err.splitlines()]


def test_events_are_json_objects_with_a_level_and_a_time(capsys: Captured) -> None:
    configure("info", "json")
    structlog.get_logger().info("server_started", url="http://127.0.0.1:8080", clients=3)
    (event,) = events(capsys)
    assert event["event"] == "server_started"
    assert (event["level"], event["clients"], event["url"]) == ("info", 3, "http://127.0.0.1:8080")
    assert event["timestamp"].endswith("Z")


def test_a_log_that_is_no_terminal_is_json(capsys: Captured) -> None:
    configure()
    structlog.get_logger().info("x")
    assert events(capsys)


def test_a_console_line_is_for_reading(capsys: Captured) -> None:
    configure("info", "console")
    structlog.get_logger().info("server_started", token=TOKEN, port=8080)
    line = capsys.readouterr().err
    assert "server_started" in line
    assert "port=8080" in line
    assert TOKEN not in line


def test_what_is_weaker_than_the_level_is_not_written(capsys: Captured) -> None:
    configure("warning", "json")
    log = structlog.get_logger()
    log.info("no")
    log.warning("yes")
    assert [event["event"] for event in events(capsys)] == ["yes"]


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "Token",
        "auth_token",
        "accessToken",
        "secret",
        "password",
        "Authorization",
        "api_key",
        "cookie",
    ],
)
def test_what_has_a_telling_name_is_masked_however_deep(capsys: Captured, name: str) -> None:
    configure("info", "json")
    structlog.get_logger().info("x", **{name: "opaque"}, headers=[{"inner": {name: "opaque"}}])
    (event,) = events(capsys)
    assert event[name] == event["headers"][0]["inner"][name] == "***"


def test_names_that_only_sound_alike_are_not_masked(capsys: Captured) -> None:
    configure("info", "json")
    structlog.get_logger().info("x", token_warning=60, tokens=3, keys=[1])
    (event,) = events(capsys)
    assert (event["token_warning"], event["tokens"], event["keys"]) == (60, 3, [1])


@pytest.mark.parametrize("renderer", ["json", "console"])
def test_a_token_is_masked_wherever_it_hides(capsys: Captured, renderer: Any) -> None:
    """In a text, after an escaped newline, in an object's repr, in an exception, in a library's record."""

    class Holder:
        def __repr__(self) -> str:
            return f"Holder({TOKEN})"

    configure("info", renderer)
    log = structlog.get_logger()
    log.info("in a text: %s", TOKEN, text=f"\n{TOKEN}", held=Holder(), many=[TOKEN, {TOKEN: TOKEN}])
    try:
        float(TOKEN)
    except ValueError:
        log.exception("failed")
        logging.getLogger("engineio.server").exception("failed %s", TOKEN)
    err = capsys.readouterr().err
    assert TOKEN not in err
    assert "c2lnbmF0dXJl" not in err
    assert "***" in err


def test_an_empty_secret_is_told_from_one_that_is_set(capsys: Captured) -> None:
    configure("info", "json")
    structlog.get_logger().info("x", secret=None)
    assert events(capsys)[0]["secret"] is None


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET /stream?symbols=A&token=opaque&x=1", "GET /stream?symbols=A&token=***&x=1"),
        ("https://vendor.test/q?apikey=opaque", "https://vendor.test/q?apikey=***"),
        ("redis://user:opaque@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:opaque@host", "redis://:***@host"),
        (f"Bearer {TOKEN}", "Bearer ***"),
        ("http://127.0.0.1:8080/a@b", "http://127.0.0.1:8080/a@b"),
        ("a price of EUR/USD", "a price of EUR/USD"),
    ],
)
def test_secrets_inside_a_text_are_masked_and_the_rest_stays(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize("renderer", ["json", "console"])
def test_a_traceback_never_shows_local_variables(capsys: Captured, renderer: Any) -> None:
    configure("info", renderer)
    hidden = "in memory only".replace(" ", "-")  # as it stands in no line of this source
    try:
        int(hidden[:3])
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("aiohttp.client").exception("failed")
    err = capsys.readouterr().err
    assert err.count("ValueError: invalid literal") == 2
    assert hidden not in err


def test_other_libraries_speak_through_the_same_renderer_from_warning_on(capsys: Captured) -> None:
    configure("debug", "json")
    for name in ("aiohttp.access", "engineio.server"):
        logging.getLogger(name).info("GET /")
    logging.getLogger("aiohttp.client").warning("slow %s", "peer")
    (event,) = events(capsys)
    assert (event["event"], event["logger"], event["level"]) == ("slow peer", "aiohttp.client", "warning")


def test_configuring_twice_writes_once(capsys: Captured) -> None:
    configure("info", "json")
    configure("info", "json")
    structlog.get_logger().warning("own")
    logging.getLogger("aiohttp").warning("theirs")
    assert len(events(capsys)) == 2


def test_a_logger_made_before_the_set_up_follows_it(capsys: Captured) -> None:
    """Modules make theirs on import."""
    log = structlog.get_logger()
    configure("info", "json")
    log.info("late")
    assert events(capsys)[0]["event"] == "late"


def test_a_value_that_json_has_no_form_for_is_written_all_the_same(capsys: Captured) -> None:
    configure("info", "json")
    structlog.get_logger().info("x", many={1, 2}, raw=b"\xff", deep=[[[[[["bottom"]]]]]])
    (event,) = events(capsys)
    assert event["raw"] == "b'\\xff'"
    assert "bottom" not in json.dumps(event)


def test_what_is_no_http_is_no_error_of_this_server(capsys: Captured) -> None:
    """Scanners would fill the log of every server that can be reached."""
    configure("debug", "json")
    logging.getLogger("aiohttp.server").error("Error handling request from 192.0.2.1")
    assert events(capsys) == []


@pytest.mark.parametrize("renderer", ["json", "console"])
def test_what_cannot_be_rendered_costs_only_itself(capsys: Captured, renderer: Any) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    configure("info", renderer)
    structlog.get_logger().info("of no use", value=Broken(), odd={(1, 2): 3})
    logging.getLogger("aiohttp.client").warning("of no use either", extra={"value": Broken()})
    structlog.get_logger().info("next")
    err = capsys.readouterr().err
    assert "of no use" in err
    assert "next" in err


@pytest.mark.parametrize("renderer", ["json", "console"])
def test_no_text_that_somebody_sent_is_obeyed_by_a_terminal(capsys: Captured, renderer: Any) -> None:
    configure("info", renderer)
    evil = "\x1b]0;title\x07\x1b[31m\u202e\x9b\rend"
    structlog.get_logger().info("x", origin=evil, many=[evil], held={"a": evil})
    logging.getLogger("engineio.server").warning("from %s", evil)
    try:
        float(evil)
    except ValueError:
        structlog.get_logger().exception("failed")
    err = capsys.readouterr().err
    assert err.count("title") >= 4
    assert [char for char in err if not char.isprintable() and char != "\n"] == []


def test_a_secret_is_masked_before_its_quotes_are_escaped(capsys: Captured) -> None:
    configure("info", "json")
    structlog.get_logger().info("x", url="https://host/?password=s3cr3t\\x")
    assert "s3cr3t" not in capsys.readouterr().err
