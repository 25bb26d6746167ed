from marketstream.core.frame import Frame
from marketstream.engine.delay import DelayLine


def price(symbol: str, cursor: int, tenant: str | None = None) -> Frame:
    frame = Frame("price", b"{}", key=symbol, symbol=symbol, tenant=tenant)
    frame.cursor = cursor
    return frame


def test_a_price_is_released_when_it_is_old_enough_and_never_before() -> None:
    line, frame = DelayLine(5), price("A", 1)
    line.put([frame])
    assert [line.release(now) for now in (100.0, 104.9, 105.0, 106.0)] == [[], [], [frame], []]


def test_each_step_keeps_one_value_of_each_symbol_and_tenant() -> None:
    line = DelayLine(5)
    newest = [price("A", 10), price("B", 11), price("A", 12, "acme")]
    line.put([price("A", 1), price("B", 2), price("A", 3, "acme")])
    line.put(newest)
    line.release(100)
    assert line.release(105) == newest


def test_a_late_step_releases_everything_that_is_due_oldest_first() -> None:
    line = DelayLine(5)
    frames = [price("A", number) for number in range(3)]
    for now, frame in enumerate(frames, 100):
        line.put([frame])
        line.release(now)
    assert line.release(200) == frames


def test_only_released_prices_can_be_asked_for() -> None:
    line, old, new = DelayLine(5), price("A", 1), price("A", 2)
    line.put([old])
    assert line.last(["A"], "acme") == []
    line.release(100)
    line.put([new])
    line.release(105)
    assert line.last(["B", "A"], "acme") == [old]


def test_the_newest_of_the_public_price_and_the_tenants_own_is_given() -> None:
    line = DelayLine(5)
    public, own = price("A", 5), price("A", 9, "acme")
    line.put([public, own])
    line.release(100)
    line.release(105)
    assert line.last(["A"], "acme") == [own]
    assert line.last(["A"], "rival") == [public]


def test_a_line_holds_no_more_than_a_value_for_each_symbol_and_step() -> None:
    line = DelayLine(5)
    for now in range(50):
        for _ in range(20):
            line.put([price("A", 1), price("B", 1)])
        line.release(now)
    assert sum(len(frames) for _, frames in line._waiting) <= 2 * 6


def test_a_value_published_long_enough_ago_counts_also_when_it_was_not_heard_then() -> None:
    """The symbol may be watched here for the first time."""
    line, old, young = DelayLine(5), price("A", 1_000_000), price("B", 1_000_001)
    assert line.last(["A", "B"], "acme", [old, young], at_ms=6_000) == [old]


def test_the_newer_of_what_was_heard_and_what_is_known_is_shown() -> None:
    line, heard, known = DelayLine(5), price("A", 1_000_000), price("A", 2_000_000)
    line.put([heard])
    line.release(100)
    line.release(105)
    assert line.last(["A"], "acme", [known], at_ms=6_999) == [heard]
    assert line.last(["A"], "acme", [known], at_ms=7_000) == [known]
