"""A tape is played as it was recorded, and a bad one is refused with the line that is bad."""

import asyncio
import gzip
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from marketstream.core.market.model import Quote
from marketstream.errors import FeedError
from marketstream.feeds.replay import ReplayFeed
from tests.support.clock import FakeClock
from tests.support.sink import RecordingSink
from tests.support.tape import HEADER, best_prices, write_tape

HEAD = ",".join(HEADER)
ROW = "1000,EUR/USD,oanda,1.5,100,1.6,200"


def tape(tmp_path: Path, *rows: str, head: str = HEAD) -> Path:
    """Writes a tape that is not packed."""
    path = tmp_path / "tape.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


class TimedSink(RecordingSink):
    """Also notes the seconds since the start at which each offer came."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.start = clock.now()
        self.seconds: list[float] = []

    def offer(self, quotes: Sequence[Quote]) -> None:
        """Keeps an offer and its time."""
        self.seconds.append(round(self.clock.now() - self.start, 4))
        super().offer(quotes)


async def play(path: Path, *, speed: float = 1, loop: int = 0) -> TimedSink:
    """Plays a tape to its end on fake time."""
    clock = FakeClock()
    sink = TimedSink(clock)
    await ReplayFeed(path=path, speed=speed, loop=loop, clock=clock, sleep=clock.sleep).run(sink)
    return sink


async def refusal(path: Path) -> str:
    """Why a tape is refused."""
    with pytest.raises(FeedError) as caught:
        await play(path, speed=0)
    return str(caught.value)


async def test_a_row_becomes_the_quote_it_stands_for(tmp_path: Path) -> None:
    sink = await play(
        tape(tmp_path, "1000,eur/usd,oanda,1.50,100,1.6,200.5", "1001,A.B-C_D=^:1,x y,,,-2.5,0")
    )
    assert sink.quotes == [
        Quote("EUR/USD", "oanda", 1.5, 100.0, 1.6, 200.5, 1000),
        Quote("A.B-C_D=^:1", "x y", None, None, -2.5, 0.0, 1001),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
@pytest.mark.parametrize("end", ["", "\n"])
async def test_packed_or_not_and_with_any_line_ending(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes], end: str
) -> None:
    content = ending.join([HEAD, ROW]) + end
    path = tmp_path / "named-as-one-likes"
    path.write_bytes(pack(content.encode()))
    assert len((await play(path)).quotes) == 1


async def test_the_original_pace_is_kept_and_equal_times_go_together(tmp_path: Path) -> None:
    times = [5000, 5000, 5040, 6000, 6000, 6000, 66_000]
    sink = await play(tape(tmp_path, *[f"{at_ms},AAPL,x,1,,2," for at_ms in times]))
    assert sink.seconds == [0, 0.04, 1, 61]
    assert [len(offer) for offer in sink.offers] == [2, 1, 3, 1]
    assert [quote.at_ms for quote in sink.quotes] == times


async def test_a_higher_speed_shortens_the_time_between(tmp_path: Path) -> None:
    sink = await play(tape(tmp_path, *[f"{at_ms},AAPL,x,1,,2," for at_ms in (0, 1000, 61_000)]), speed=10)
    assert sink.seconds == [0, 0.1, 6.1]
    assert [quote.at_ms for quote in sink.quotes] == [0, 1000, 61_000]


async def test_a_late_tape_catches_up_without_skipping(tmp_path: Path) -> None:
    """Rows that fell due during one overlong sleep go at once, in batches."""
    path = tape(tmp_path, *[f"{at_ms},AAPL,x,{at_ms},,," for at_ms in range(1, 10_001)])
    clock = FakeClock()
    sink = TimedSink(clock)
    stalls = iter([9.0])

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds + (next(stalls, 0.0) if seconds else 0.0))

    await ReplayFeed(path=path, clock=clock, sleep=sleep).run(sink)
    assert [quote.bid for quote in sink.quotes] == list(range(1, 10_001))
    assert max(len(offer) for offer in sink.offers) == 64
    assert sink.seconds[-1] == pytest.approx(9.999, abs=0.01)


async def test_waits_are_long_enough_to_be_waits(tmp_path: Path) -> None:
    """Some loops fire a timer below a millisecond at once, which would be a busy loop."""
    clock, waits = FakeClock(), []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await clock.sleep(seconds)

    path = tape(tmp_path, *[f"{at_ms},AAPL,x,1,,," for at_ms in range(1000)])
    await ReplayFeed(path=path, speed=50, clock=clock, sleep=sleep).run(RecordingSink())
    assert min(wait for wait in waits if wait > 0) >= 0.001


async def test_without_a_pace_each_batch_waits_for_the_sink(tmp_path: Path) -> None:
    path = tmp_path / "tape.csv.gz"
    write_tape(path, 1000)
    sink = await play(path, speed=0)
    ends = [sum(len(offer) for offer in sink.offers[: number + 1]) for number in range(len(sink.offers))]
    assert sink.waits == ends
    assert sink.clock.now() == sink.start
    assert all(64 <= len(offer) <= 80 for offer in sink.offers[:-1])
    assert len(sink.quotes) == 1000


async def test_an_instant_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    sink = await play(tape(tmp_path, *["1000,AAPL,x,1,,,"] * 10_000), speed=0)
    assert [len(offer) for offer in sink.offers] == [4096, 4096, 1808]


async def test_a_tape_is_over_only_when_the_sink_handed_it_on(tmp_path: Path) -> None:
    sink = await play(tape(tmp_path, ROW))
    assert sink.waits == [1]


@pytest.mark.parametrize("speed", [0, 1])
async def test_each_round_goes_on_one_second_after_the_last(tmp_path: Path, speed: float) -> None:
    path = tape(tmp_path, "5000,AAPL,x,1,,2,", "5300,AAPL,x,3,,4,")
    sink = await play(path, speed=speed, loop=3)
    assert [quote.at_ms for quote in sink.quotes] == [5000, 5300, 6300, 6600, 7600, 7900]
    assert [quote.bid for quote in sink.quotes] == [1, 3] * 3
    if speed:
        assert sink.seconds == [0, 0.3, 1.3, 1.6, 2.6, 2.9]


async def test_loop_1_never_ends(tmp_path: Path) -> None:
    sink, clock = RecordingSink(), FakeClock()
    feed = ReplayFeed(path=tape(tmp_path, ROW), speed=0, loop=1, clock=clock, sleep=clock.sleep)
    task = asyncio.create_task(feed.run(sink))
    await sink.until(1000)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    times = [quote.at_ms for quote in sink.quotes]
    assert times == list(range(1000, 1000 * len(times) + 1, 1000))


async def test_a_waiting_tape_starts_with_the_first_subscriber(tmp_path: Path) -> None:
    path = tape(tmp_path, "5000,eur/usd,x,1,,2,", "5300,AAPL,x,3,,4,")
    sink, clock = RecordingSink(), FakeClock()
    feed = ReplayFeed(path=path, wait=True, clock=clock, sleep=clock.sleep)
    task = asyncio.create_task(feed.run(sink))
    await sink.want("MSFT")
    await sink.until_asked(frozenset({"MSFT"}))
    assert sink.quotes == []
    clock.advance(500)
    await sink.want("AAPL")
    await task
    assert [quote.at_ms for quote in sink.quotes] == [5000, 5300]
    assert len(sink.offers) == 2, "the pace begins with the first row, not with the waiting"


async def test_a_made_up_tape_arrives_whole(tmp_path: Path) -> None:
    """What the feed offers are the prices that other arithmetic reads from the file."""
    path = tmp_path / "tape.csv.gz"
    write_tape(path, 3000)
    sink = await play(path, speed=0)
    newest: dict[tuple[str, str], Quote] = {}
    for quote in sink.quotes:
        newest[quote.symbol, quote.source] = quote
    for symbol, entries in best_prices(path).items():
        last = entries[-1]
        sides = [quote for (name, _), quote in newest.items() if name == symbol]
        assert last["bestBid"]["price"] == max(quote.bid or -math.inf for quote in sides)
        assert last["bestAsk"]["price"] == min(quote.ask or math.inf for quote in sides)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1000,EUR/USD,oanda,1.5,100,1.6", "has 6 columns, must have 7"),
        ("1000,EUR/USD,oanda,1.5,100,1.6,200,1", "has 8 columns, must have 7"),
        ("", "has 0 columns, must have 7"),
        ("1000,EUR/USD,oanda,abc,100,1.6,200", "bid is 'abc', must be empty or a finite number"),
        ("1000,EUR/USD,oanda,1.5,nan,1.6,200", "bid_size is 'nan', must be empty or a finite number"),
        ("1000,EUR/USD,oanda,1.5,100,inf,200", "ask is 'inf', must be empty or a finite number"),
        ("1000,EUR/USD,oanda,1.5,100,1.6,1_0", "ask_size is '1_0', must be empty or a finite number"),
        ("1000,EUR/USD,oanda,1.5,-1,1.6,200", "bid_size is '-1', must not be negative"),
        ("x,EUR/USD,oanda,1.5,100,1.6,200", "timestamp_ms is 'x', must be epoch milliseconds"),
        ("1e3,EUR/USD,oanda,1.5,100,1.6,200", "timestamp_ms is '1e3', must be epoch milliseconds"),
        ("-5,EUR/USD,oanda,1.5,100,1.6,200", "timestamp_ms is '-5', must be epoch milliseconds"),
        (",EUR/USD,oanda,1.5,100,1.6,200", "timestamp_ms is '', must be epoch milliseconds"),
        ("9999999999999999,A,oanda,1,1,1,1", "timestamp_ms is '9999999999999999', must be epoch"),
        ("999,EUR/USD,oanda,1.5,100,1.6,200", "timestamp_ms is 999, before 1000 of the line above"),
        ("1000,EUR USD,oanda,1.5,100,1.6,200", "symbol is 'EUR USD', must be 1 to 32 of"),
        ("1000,,oanda,1.5,100,1.6,200", "symbol is '', must be 1 to 32 of"),
        (f"1000,{'A' * 33},oanda,1.5,100,1.6,200", "must be 1 to 32 of"),
        ("1000,EUR/USD,,1.5,100,1.6,200", "source is empty"),
        ("1000,EUR/USD,x\x1b[31m,1.5,100,1.6,200", "source has characters that cannot be printed"),
        ('1000,EUR/USD,"oan"da,1.5,100,1.6,200', "is not CSV"),
    ],
)
async def test_a_bad_line_is_named_after_the_good_ones_were_played(
    tmp_path: Path, row: str, reason: str
) -> None:
    path = tape(tmp_path, ROW, row, ROW)
    sink, clock = RecordingSink(), FakeClock()
    with pytest.raises(FeedError) as caught:
        await ReplayFeed(path=path, clock=clock, sleep=clock.sleep).run(sink)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert reason in str(caught.value)
    assert len(sink.quotes) == 1


@pytest.mark.parametrize("head", ["", HEAD + ",extra", HEAD.upper(), "\ufeff" + HEAD, ROW])
async def test_any_other_header_is_refused(tmp_path: Path, head: str) -> None:
    path = tape(tmp_path, ROW, head=head)
    assert await refusal(path) == f"{path}, line 1: is not the header {HEAD}"


async def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tape.csv"
    path.touch()
    assert await refusal(path) == f"{path}, line 1: is not the header {HEAD}"


@pytest.mark.parametrize("loop", [0, 1])
async def test_a_tape_without_rows_is_refused(tmp_path: Path, loop: int) -> None:
    path = tape(tmp_path)
    with pytest.raises(FeedError, match="line 2: there must be at least one row"):
        await play(path, speed=0, loop=loop)


async def test_a_gzip_file_that_is_cut_off_is_refused_where_it_ends(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.csv.gz", tmp_path / "cut.csv.gz"
    write_tape(whole, 5000)
    cut.write_bytes(whole.read_bytes()[:-2000])
    sink, clock = RecordingSink(), FakeClock()
    with pytest.raises(FeedError) as caught:
        await ReplayFeed(path=cut, speed=0, clock=clock, sleep=clock.sleep).run(sink)
    line = len(sink.quotes) + 2
    assert line > 3000
    assert str(caught.value) == f"{cut}, line {line}: the gzip file is cut off"


async def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tape.csv.gz"
    write_tape(path, 500)
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(200) + content[2200:])
    assert "line " in await refusal(path)
    path.write_bytes(content[:-8] + bytes(8))
    assert "the gzip file is damaged" in await refusal(path)


async def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tape.csv"
    path.write_bytes(HEAD.encode() + b"\n" + ROW.encode() + b"\n\xff\xfe\n")
    assert "is not UTF-8 text" in await refusal(path)


async def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.csv"
    assert await refusal(path) == f"{path}, line 1: cannot be read: No such file or directory"


async def test_a_waiting_tape_is_checked_before_it_waits(tmp_path: Path) -> None:
    clock, sink = FakeClock(), RecordingSink()
    feed = ReplayFeed(path=tape(tmp_path, ROW, "bad"), wait=True, clock=clock, sleep=clock.sleep)
    with pytest.raises(FeedError, match="line 3"):
        await feed.run(sink)
    assert sink.asked == []


async def test_a_made_up_tape_has_all_that_a_real_one_has(tmp_path: Path) -> None:
    """Bursts, equal times, crossed and one-sided markets, the same bytes for the same seed."""
    first, second, other = (tmp_path / f"{name}.csv.gz" for name in ("first", "second", "other"))
    write_tape(first, 2000)
    write_tape(second, 2000)
    write_tape(other, 2000, seed=8)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    entries = [entry for symbol in best_prices(first).values() for entry in symbol]
    sink = await play(first)
    assert len(entries) < 2000, "some rows change nothing"
    assert any(len(offer) > 1 for offer in sink.offers)
    assert any(entry["spread"] is not None and entry["spread"] < 0 for entry in entries)
    assert any(entry["bestBid"] is None or entry["bestAsk"] is None for entry in entries)
    assert {quote.source for quote in sink.quotes} == {"oanda", "fxcm"}
    assert {quote.symbol for quote in sink.quotes} == {"EUR/USD", "NZD/USD"}
