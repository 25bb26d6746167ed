from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.delay import LINGER, OVERHEAD, DelayLine, DelayLines

DELAY = 5.0


class Lines(DelayLines):
    """Lines that note for which symbols they want to hear of prices."""

    def __init__(self, max_bytes: int = 1_000_000) -> None:
        self.heard: list[str] = []
        super().__init__(on_held=self.heard.append, on_dropped=self.heard.remove, max_bytes=max_bytes)

    def line(self, *symbols: str, delay: float = DELAY) -> DelayLine:
        """A line that is used for some symbols."""
        line = self.of(delay)
        assert line is not None
        for symbol in symbols:
            line.watch(symbol)
        return line


def price(symbol: str, cursor: int, tenant: str | None = None) -> Frame:
    frame = Frame("price", b"{}", key=symbol, symbol=symbol, tenant=tenant)
    frame.cursor = cursor
    return frame


def cursors(frames: Sequence[Frame]) -> list[int]:
    return [frame.cursor for frame in frames]


def test_a_price_is_released_when_it_is_old_enough_and_never_before() -> None:
    line, frame = Lines().line("A"), price("A", 1)
    line.put([frame], 100.0)
    assert [line.release(now) for now in (100.0, 104.9, 105.0, 106.0)] == [[], [], [frame], []]


def test_each_step_keeps_one_value_of_each_symbol_and_tenant() -> None:
    line = Lines().line("A", "B")
    newest = [price("A", 10), price("B", 11), price("A", 12, "acme")]
    line.put([price("A", 1), price("B", 2), price("A", 3, "acme")], 100)
    line.put(newest, 100)
    line.release(100)
    assert line.release(105) == newest


def test_a_late_step_releases_everything_that_is_due_oldest_first() -> None:
    line = Lines().line("A")
    frames = [price("A", number) for number in range(1, 4)]
    for now, frame in enumerate(frames, 100):
        line.put([frame], now)
        line.release(now)
    assert line.release(200) == frames


def test_only_released_prices_can_be_asked_for() -> None:
    line, old, new = Lines().line("A"), price("A", 1), price("A", 2)
    line.put([old], 100)
    assert line.last(["A"], "acme") == []
    line.release(100)
    line.put([new], 105)
    line.release(105)
    assert line.last(["B", "A"], "acme") == [old]


def test_the_newest_of_the_public_price_and_the_tenants_own_is_given() -> None:
    line = Lines().line("A")
    public, own = price("A", 5), price("A", 9, "acme")
    line.put([public, own], 100)
    line.release(100)
    line.release(105)
    assert line.last(["A"], "acme") == [own]
    assert line.last(["A"], "rival") == [public]


def test_a_line_holds_no_more_than_a_value_for_each_symbol_and_step() -> None:
    lines = Lines()
    line = lines.line("A", "B")
    for now in range(50):
        for number in range(20):
            line.put([price(symbol, 20 * now + number + 1) for symbol in "AB"], now)
        line.release(now)
    # What waits, and what was released last.
    assert lines.frames == 2 * 6
    assert lines.bytes == 2 * 6 * (OVERHEAD + 2)


def test_a_value_published_long_enough_ago_counts_also_when_it_was_not_heard_then() -> None:
    """The symbol may be watched here for the first time."""
    line, old, young = Lines().line("A", "B"), price("A", 1_000_000), price("B", 1_000_001)
    assert line.last(["A", "B"], "acme", [old, young], at_ms=6_000) == [old]


def test_the_newer_of_what_was_heard_and_what_is_known_is_shown() -> None:
    line, heard, known = Lines().line("A"), price("A", 1_000_000), price("A", 2_000_000)
    line.put([heard], 100)
    line.release(100)
    line.release(105)
    assert line.last(["A"], "acme", [known], at_ms=6_999) == [heard]
    assert line.last(["A"], "acme", [known], at_ms=7_000) == [known]


# What is held


def test_nothing_is_held_of_what_nobody_uses() -> None:
    lines = Lines()
    line = lines.line("A")
    line.put([price("B", 1), price("C", 2, "acme")], 100)
    line.release(100)
    assert (lines.frames, lines.bytes, lines.heard) == (0, 0, ["A"])
    assert not lines.line(delay=9)


def test_a_symbol_is_let_go_a_moment_after_its_last_client_left() -> None:
    lines = Lines()
    line = lines.line("A", "A")
    line.put([price("A", 1), price("A", 2, "acme")], 100)
    line.release(100)
    line.put([price("A", 3)], 105)
    line.release(105)
    line.unwatch("A", 105)
    line.release(200)
    line.put([price("A", 4)], 200)
    line.unwatch("A", 200)
    line.release(200 + LINGER - 0.1)
    assert (bool(line), lines.heard) == (True, ["A"])
    line.release(200 + LINGER)
    assert (bool(line), lines.heard, lines.frames, lines.bytes) == (False, [], 0, 0)
    assert line.last(["A"], "acme") == []


def test_a_client_who_comes_back_at_once_finds_what_was_held() -> None:
    lines = Lines()
    line, frame = lines.line("A"), price("A", 1)
    line.put([frame], 100)
    line.release(100)
    line.unwatch("A", 100)
    line.watch("A")
    assert line.release(105) == [frame]


def test_a_question_holds_its_symbol_until_there_is_an_answer() -> None:
    line, frame = Lines().line(), price("A", 1)
    line.ask("A", 100)
    line.put([frame], 100)
    line.release(100)
    line.release(105)
    assert line.last(["A"], "acme") == [frame]
    line.release(100 + DELAY + LINGER)
    assert not line


def test_a_quiet_symbol_shows_its_only_price_once_that_is_old_enough() -> None:
    """It was published before anybody asked, and nothing follows."""
    line, frame = Lines().line("A"), price("A", 10_000_000)
    line.begin([frame, price("B", 10_000_000)], 100, 12_000)
    assert [line.release(now) for now in (100, 102.9, 103)] == [[], [], [frame]]


def test_a_price_that_is_old_enough_stays_visible_when_newer_ones_come() -> None:
    line, old, new = Lines().line("A"), price("A", 1_000_000), price("A", 6_000_000)
    line.begin([old], 100, 6_000)
    line.begin([new], 100, 6_000)
    line.put([new], 100)
    assert line.last(["A"], "acme", [new], 6_000) == [old]
    assert line.release(100) == []


def test_what_is_held_already_is_not_taken_twice() -> None:
    line, frame = Lines().line("A"), price("A", 10_000_000)
    line.put([frame], 100)
    line.release(100)
    line.begin([frame], 101, 11_000)
    line.put([frame], 101)
    released = [line.release(now) for now in range(101, 110)]
    assert [each for each in released if each] == [[frame]]


# Its bound


def test_when_there_is_no_room_symbols_take_turns_and_the_newest_still_comes() -> None:
    """Nothing held is thrown away: then a delay longer than the room would show nothing at all."""
    lines = Lines(max_bytes=4 * (OVERHEAD + 2))
    line = lines.line("A", "B", "C")
    seen: dict[str, list[int]] = {"A": [], "B": [], "C": []}
    for now in range(60):
        if now < 40:
            line.put([price(symbol, 3 * now + number + 1) for number, symbol in enumerate("ABC")], now)
        for frame in line.release(now):
            seen[frame.symbol].append(frame.cursor)
        assert lines.frames <= 4
    assert {symbol: found[-1] for symbol, found in seen.items()} == {"A": 118, "B": 119, "C": 120}
    assert all(found == sorted(set(found)) and len(found) > 3 for found in seen.values())
    assert lines.waited > 0


def test_all_lines_share_one_memory() -> None:
    lines = Lines(max_bytes=3 * (OVERHEAD + 2))
    for delay in (5, 10, 15):
        line = lines.line("A", "B", delay=delay)
        line.put([price("A", 1), price("B", 2)], 100)
        line.release(100)
    assert lines.frames == 3


@pytest.mark.parametrize("delay", [0, -1])
def test_a_plan_without_a_delay_has_no_line(delay: float) -> None:
    assert Lines().of(delay) is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("ABC"), st.sampled_from([None, "acme"])),
        st.tuples(st.sampled_from(["watch", "unwatch", "ask"]), st.sampled_from("ABC"), st.none()),
        st.tuples(st.just("step"), st.just(""), st.none()),
    ),
    max_size=80,
)


@given(STEPS, st.integers(1, 8))
def test_whatever_happens_nothing_is_shown_early_nothing_goes_back_and_the_count_is_right(
    steps: list[tuple[str, str, str | None]], room: int
) -> None:
    lines = Lines(max_bytes=room * (OVERHEAD + 2))
    line, now, cursor = lines.line(), 100, 0
    clients = dict.fromkeys("ABC", 0)
    put_at: dict[int, float] = {}
    shown: dict[tuple[str, str | None], int] = {}
    for what, symbol, tenant in steps:
        if what == "put":
            cursor += 1
            put_at[cursor] = now
            line.put([price(symbol, cursor, tenant)], now)
        elif what == "watch":
            clients[symbol] += 1
            line.watch(symbol)
        elif what == "unwatch" and clients[symbol]:
            clients[symbol] -= 1
            line.unwatch(symbol, now)
        elif what == "ask":
            line.ask(symbol, now)
        elif what == "step":
            now += 1
            for frame in line.release(now):
                assert now - put_at[frame.cursor] >= DELAY
                assert frame.cursor > shown.get((frame.symbol, frame.tenant), 0)
                shown[frame.symbol, frame.tenant] = frame.cursor
        # What is released stays beside the bound, one for each symbol and tenant.
        assert lines.frames <= room + 6
        assert lines.bytes == lines.frames * (OVERHEAD + 2)
    for symbol, count in clients.items():
        for _ in range(count):
            line.unwatch(symbol, now)
    line.release(now + DELAY + LINGER)
    assert (lines.frames, lines.bytes, lines.heard) == (0, 0, [])
