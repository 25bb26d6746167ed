"""Texts of others, as they may be shown: without secrets, and without what a terminal would obey."""

import string
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketstream.observability.text import mask, mask_setting, printable

SECRET = "s3cr3t"

URLS = [
    "redis://user:{}@host:6379/0",
    "redis://:{}@host",
    "redis://{}@host",
    "REDIS://user:{}@host",
    "redis://user%3A{}@host",
    "redis://:before/{}@host/0",
    "redis://:before?{}#after@host/0",
    "redis://:before@{}@host/0",
    "redis://host/0?password={}",
    "redis://host/0?db=1&p%61ssword={}",
    "redis://host/0?%2570assword={}&db=1",
    "rediss://host/0?ssl_password={}",
    "redis+sentinel://user:{}@h1:1,h2:2/SERVICE/0",
    "redis+sentinel://h1:1,user:{}@h2:2/SERVICE/0",
    "redis+cluster://user:{}@h1:1,other:{}@h2:2",
    "https://user:{}@vendor.test/path",
    "https://vendor.test/keys?X-Amz-Signature={}",
    "https://vendor.test/q?apikey={}",
    "https://vendor.test/q?to=redis%3A%2F%2F%3A{}%40host",
    "redis%3A%2F%2Fuser%3A{}%40host",
    "redis://user:{}%40host:6379",
]
MALFORMED = [
    "redis:/user:{}@host",
    "redis:user:{}@host",
    "redis//user:{}@host",
    "user:{}@host:6379",
    "redis://:{}",
    "redis://user:{}/0",
    "redis://[user:{}@host",
    "redis://user:one {} word@host",
    'redis://user:"{}"@host',
]


@pytest.mark.parametrize("url", URLS)
def test_a_secret_in_an_address_is_masked_in_any_text(url: str) -> None:
    shown = mask(f"cannot reach {url.replace('{}', SECRET)} and gave up")
    assert SECRET not in shown
    assert shown.startswith("cannot reach ")
    assert shown.endswith(" and gave up")


@pytest.mark.parametrize("url", [*URLS, *MALFORMED])
def test_a_setting_shows_no_secret_however_it_is_written(url: str) -> None:
    assert SECRET not in mask_setting(url.replace("{}", SECRET))


@given(
    st.text(string.printable, min_size=4).filter(lambda text: not text.isdigit()), st.sampled_from(URLS[:3])
)
@example("/@:?", URLS[0])
def test_no_password_is_shown_whatever_it_is_made_of(password: str, url: str) -> None:
    """As it stands and quoted; in front of it stands what nothing else in the URL holds."""
    for written in (password, quote(password, safe="")):
        assert "~" not in mask_setting(url.replace("{}", f"~{written}~"))


@pytest.mark.parametrize(
    "value",
    [
        "redis://127.0.0.1:6379/0",
        "redis+sentinel://h1:1,h2:2/SERVICE/0",
        "redis+cluster://[::1]:6379,b",
        "memory://",
        "https://query2.finance.yahoo.com/v1?region=US",
        "synthetic?symbols=EUR/USD,AAPL&rate=10",
        "/socket.io/",
        "info",
    ],
)
def test_a_setting_without_a_secret_is_shown_as_it_is(value: str) -> None:
    assert mask_setting(value) == value


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("redis://user:opaque@host:6379/0", "redis://user:***@host:6379/0"),
        ("http://127.0.0.1:8080/a@b", "http://127.0.0.1:8080/a@b"),
        ("ask ops@acme.test", "ask ops@acme.test"),
        ("100%40", "100%40"),
    ],
)
def test_what_is_no_secret_stays(text: str, masked: str) -> None:
    assert mask(text) == masked


@given(st.text() | st.text("eyJ.a:/@%40?&=p", max_size=300))
def test_masking_is_defined_for_every_text_and_done_after_once(text: str) -> None:
    assert mask(mask(text)) == mask(text)
    assert isinstance(mask_setting(text), str)


@pytest.mark.parametrize("part", ["a", "a://", "eyJ", "?a=", "%25", "?a=%25", "://", "@", "%40", ":/@"])
def test_masking_takes_time_in_proportion(part: str) -> None:
    """Whoever sends a header has it in the log: four times the text may not cost sixteen times the time."""

    def seconds(size: int) -> float:
        text = part * (size // len(part)) + "="
        started = time.process_time()
        mask(text)
        mask_setting(text)
        return time.process_time() - started

    seconds(1_000)
    short, long = (min(seconds(size) for _ in range(3)) for size in (4_000, 16_000))
    assert long < 8 * short + 0.01


@given(st.text(st.characters()))
@example("\x1b]0;title\x07\x1b[31m")
@example("\u202etxt.exe\u2066")
@example("half \ud83d")
@example("\x9b31m")
def test_what_a_terminal_would_obey_is_written_as_an_escape(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_wide_characters_and_markup_are_shown_as_they_are() -> None:
    assert printable("銀行 [bold]x[/bold] é 😀") == "銀行 [bold]x[/bold] é 😀"
    assert printable("a\n\tb\r", "\n\t") == "a\n\tb\\r"
