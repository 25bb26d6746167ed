import pytest

from marketstream.core.delivery.rooms import (
    Watched,
    channel_room,
    symbol_of,
    symbol_room,
    tenant_room,
    watched_by,
)


def test_rooms_are_called_as_back_ends_outside_know_them() -> None:
    assert tenant_room("acme") == "tenant:acme"
    assert symbol_room("EUR/USD") == "symbol:EUR/USD"
    assert channel_room("indices") == "channel:indices"


@pytest.mark.parametrize(("delay", "name"), [(900, "delayed:900:AAPL"), (0.5, "delayed:0.5:AAPL")])
def test_each_delay_has_rooms_of_its_own(delay: float, name: str) -> None:
    assert symbol_room("AAPL", delay) == name


@pytest.mark.parametrize("symbol", ["AAPL", "EUR/USD", "A:B", ":"])
def test_the_symbol_of_a_room_is_the_one_it_was_named_after(symbol: str) -> None:
    assert symbol_of(symbol_room(symbol)) == symbol


@pytest.mark.parametrize(
    "room",
    [tenant_room("AAPL"), channel_room("AAPL"), symbol_room("AAPL", 5), "symbol:", "symbol", "AAPL", ""],
)
def test_no_other_room_has_a_symbol(room: str) -> None:
    assert symbol_of(room) is None


@pytest.mark.parametrize(
    ("room", "watched"),
    [
        (symbol_room("EUR/USD"), Watched("EUR/USD", 0, demanded=True)),
        (symbol_room("EUR/USD", 15), Watched("EUR/USD", 15, demanded=True)),
        (symbol_room("EUR/USD", 0.5), Watched("EUR/USD", 0.5, demanded=True)),
        (symbol_room("EUR/USD", 1e-7), Watched("EUR/USD", 1e-7, demanded=True)),
        ("channel:EUR/USD", Watched("EUR/USD", 0, demanded=False)),
    ],
)
def test_members_of_a_room_wait_to_learn_of_its_symbol_or_channel(room: str, watched: Watched) -> None:
    """Feeds serve the rooms of symbols, live or held back."""
    assert watched_by(room) == watched


@pytest.mark.parametrize("room", [tenant_room("AAPL"), "symbol:", "delayed:15:", "delayed:15", "AAPL", ""])
def test_other_rooms_belong_to_no_symbol_or_channel(room: str) -> None:
    assert watched_by(room) is None


@pytest.mark.parametrize(
    ("room", "name"), [("symbol:aapl", "aapl"), ("symbol:A B", "A B"), ("delayed:soon:A B", "A B")]
)
def test_what_no_feed_can_serve_is_not_demanded(room: str, name: str) -> None:
    """A back end may call a room what it likes."""
    assert watched_by(room) == Watched(name, 0, demanded=False)
