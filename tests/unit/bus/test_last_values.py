import pytest

from marketstream.bus.last_values import LastValues
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.wire import messages
from marketstream.wire.json import loads
from tests.support.builders import best_price


def price(symbol: str, cursor: int, tenant: str | None = None) -> Frame:
    frame = messages.price(best_price(symbol, cursor), tenant)
    frame.cursor = cursor
    return frame


def state(symbol: str, name: str, cursor: int) -> Frame:
    frame = messages.status(Status(symbol, name, None, 1))  # type: ignore[arg-type]  # one of the states
    frame.cursor = cursor
    return frame


@pytest.fixture
def mirror() -> LastValues:
    """One that watches A."""
    mirror = LastValues()
    mirror.watch("A")
    return mirror


def test_only_the_first_interest_and_the_last_one_count(mirror: LastValues) -> None:
    assert [mirror.watch("A"), mirror.unwatch("A"), mirror.unwatch("A"), mirror.unwatch("A")] == [
        *(False, False, True, False),
    ]
    assert "A" not in mirror


def test_a_frame_is_news_once_and_never_when_it_is_older(mirror: LastValues) -> None:
    taken = [mirror.accept(price("A", cursor)) for cursor in (5, 5, 4, 6)]
    assert taken == [True, False, False, True]


def test_every_tenant_and_every_key_has_its_own_newest(mirror: LastValues) -> None:
    assert mirror.accept(price("A", 5))
    assert mirror.accept(price("A", 4, "acme"))
    assert mirror.accept(state("A", "stale", 3))


def test_what_nobody_watches_is_no_news_and_not_kept(mirror: LastValues) -> None:
    assert not mirror.accept(price("B", 5))
    mirror.accept(price("A", 5))
    mirror.unwatch("A")
    mirror.watch("A")
    assert mirror.get((None, "A")) is None


def test_what_was_asked_of_redis_is_known_also_when_there_is_nothing(mirror: LastValues) -> None:
    wanted = [(None, "A"), ("acme", "A"), (None, "B")]
    assert mirror.missing(wanted) == wanted
    mirror.load(wanted)
    assert mirror.missing(wanted) == [(None, "B")]


def test_all_that_was_known_is_asked_again_after_a_loss(mirror: LastValues) -> None:
    mirror.load([("acme", "A")])
    assert set(mirror.everything(["A", "B"])) == {(None, "A"), (None, "status A"), ("acme", "A")}


def test_doubt_is_told_once_and_is_a_symbols_state_until_it_ends(mirror: LastValues) -> None:
    mirror.accept(state("A", "closed", 3))
    [told] = mirror.mark_stale(["A"], 7, "bus_lost")
    assert b'"state":"stale"' in told.body
    assert mirror.mark_stale(["A"], 8, "bus_lost") == []
    assert mirror.stale_state("status A") is told
    assert mirror.stale_state("A") is None
    [back] = mirror.mark_live(["A"], 9)
    assert b'"state":"closed"' in back.body
    assert mirror.mark_live(["A"], 9) == []
    assert mirror.stale_state("status A") is None


def test_a_symbol_of_which_no_state_is_known_is_live_when_doubt_ends(mirror: LastValues) -> None:
    mirror.mark_stale(["A"], 7, "bus_lost")
    assert [messages.is_live(frame) for frame in mirror.mark_live(["A"], 9)] == [True]


def test_what_is_let_go_is_in_doubt_no_more(mirror: LastValues) -> None:
    mirror.mark_stale(["A"], 7, "bus_lost")
    mirror.unwatch("A")
    assert mirror.stale(["A"]) == []


def test_nobody_feeding_is_the_greater_doubt(mirror: LastValues) -> None:
    [first] = mirror.mark_stale(["A"], 7, "bus_lost")
    [second] = mirror.mark_stale(["A"], 8, "no_feed")
    assert mirror.mark_stale(["A"], 9, "bus_lost") == []
    assert [loads(frame.body)["reason"] for frame in (first, second)] == ["bus_lost", "no_feed"]
    assert [loads(frame.body)["since"] for frame in (first, second)] == [7, 7]


@pytest.mark.parametrize(("known", "trusted"), [("live", False), ("closed", True), ("stale", True)])
def test_after_nobody_fed_only_what_was_not_live_is_trusted_unheard(
    mirror: LastValues,
    known: str,
    trusted: bool,  # noqa: FBT001  # a parameter of pytest
) -> None:
    mirror.accept(state("A", known, 3))
    mirror.mark_stale(["A"], 7, "no_feed")
    assert mirror.may_be_live("A") == trusted
    mirror.flow("A")
    assert mirror.may_be_live("A")


def test_after_a_loss_of_redis_everything_is_trusted(mirror: LastValues) -> None:
    mirror.mark_stale(["A"], 7, "bus_lost")
    assert mirror.may_be_live("A")
