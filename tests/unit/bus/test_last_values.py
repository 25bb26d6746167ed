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
def last_values() -> LastValues:
    """One that watches A."""
    last_values = LastValues()
    last_values.watch("A")
    return last_values


def test_only_the_first_interest_and_the_last_one_count(last_values: LastValues) -> None:
    assert [
        last_values.watch("A"),
        last_values.unwatch("A"),
        last_values.unwatch("A"),
        last_values.unwatch("A"),
    ] == [
        *(False, False, True, False),
    ]
    assert "A" not in last_values


def test_a_frame_is_news_once_and_never_when_it_is_older(last_values: LastValues) -> None:
    taken = [last_values.accept(price("A", cursor)) for cursor in (5, 5, 4, 6)]
    assert taken == [True, False, False, True]


def test_every_tenant_and_every_key_has_its_own_newest(last_values: LastValues) -> None:
    assert last_values.accept(price("A", 5))
    assert last_values.accept(price("A", 4, "acme"))
    assert last_values.accept(state("A", "stale", 3))


def test_what_nobody_watches_is_no_news_and_not_kept(last_values: LastValues) -> None:
    assert not last_values.accept(price("B", 5))
    last_values.accept(price("A", 5))
    last_values.unwatch("A")
    last_values.watch("A")
    assert last_values.get((None, "A")) is None


def test_what_was_asked_of_redis_is_known_also_when_there_is_nothing(last_values: LastValues) -> None:
    wanted = [(None, "A"), ("acme", "A"), (None, "B")]
    assert last_values.missing(wanted) == wanted
    last_values.load(wanted)
    assert last_values.missing(wanted) == [(None, "B")]


def test_all_that_was_known_is_asked_again_after_a_loss(last_values: LastValues) -> None:
    last_values.load([("acme", "A")])
    assert set(last_values.everything(["A", "B"])) == {(None, "A"), (None, "status A"), ("acme", "A")}


def test_staleness_is_told_once_and_is_a_symbols_state_until_it_ends(last_values: LastValues) -> None:
    last_values.accept(state("A", "closed", 3))
    [told] = last_values.mark_stale(["A"], 7, "bus_lost")
    assert b'"state":"stale"' in told.body
    assert last_values.mark_stale(["A"], 8, "bus_lost") == []
    assert last_values.stale_state("status A") is told
    assert last_values.stale_state("A") is None
    [back] = last_values.mark_live(["A"], 9)
    assert b'"state":"closed"' in back.body
    assert last_values.mark_live(["A"], 9) == []
    assert last_values.stale_state("status A") is None


def test_a_symbol_of_which_no_state_is_known_is_live_when_staleness_ends(last_values: LastValues) -> None:
    last_values.mark_stale(["A"], 7, "bus_lost")
    assert [messages.is_live(frame) for frame in last_values.mark_live(["A"], 9)] == [True]


def test_what_is_unwatched_is_stale_no_more(last_values: LastValues) -> None:
    last_values.mark_stale(["A"], 7, "bus_lost")
    last_values.unwatch("A")
    assert last_values.stale(["A"]) == []


def test_nobody_feeding_outweighs_every_other_staleness(last_values: LastValues) -> None:
    [first] = last_values.mark_stale(["A"], 7, "bus_lost")
    [second] = last_values.mark_stale(["A"], 8, "no_feed")
    assert last_values.mark_stale(["A"], 9, "bus_lost") == []
    assert [loads(frame.body)["reason"] for frame in (first, second)] == ["bus_lost", "no_feed"]
    assert [loads(frame.body)["since"] for frame in (first, second)] == [7, 7]


@pytest.mark.parametrize(("known", "trusted"), [("live", False), ("closed", True), ("stale", True)])
def test_after_nobody_fed_only_what_was_not_live_is_live_at_once(
    last_values: LastValues,
    known: str,
    trusted: bool,  # noqa: FBT001  # a parameter of pytest
) -> None:
    last_values.accept(state("A", known, 3))
    last_values.mark_stale(["A"], 7, "no_feed")
    assert last_values.may_be_live("A") == trusted
    last_values.flow("A")
    assert last_values.may_be_live("A")


def test_after_a_loss_of_redis_everything_is_trusted(last_values: LastValues) -> None:
    last_values.mark_stale(["A"], 7, "bus_lost")
    assert last_values.may_be_live("A")
