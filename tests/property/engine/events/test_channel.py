"""What travels between processes about events: read as it was written, and no bytes do any harm."""

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.events.event import Event
from marketstream.core.events.group import Group
from marketstream.core.events.queue import EventQueue, QueuedEvent, Tally
from marketstream.errors import InvalidMessageError
from marketstream.wire.events import work
from marketstream.wire.events.between_processes import (
    Market,
    Message,
    parse_message,
    parse_user,
    render_message,
    render_user,
)
from marketstream.wire.events.codec import render_event
from marketstream.wire.json import dumps
from tests.support.builders import HOSTILE, JSON
from tests.support.events import AT_MS, EVENTS, event

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
ADDRESSES = st.builds(work.Address, TEXT, TEXT, TEXT, TEXT)
MARKETS = st.none() | st.builds(
    Market,
    st.none() | st.just(b'{"symbol":"AAPL","midPrice":1.5}'),
    st.none() | st.sampled_from(("live", "stale")),
)
REPORTS = st.one_of(
    st.builds(work.Join, ADDRESSES),
    st.builds(work.Leave, ADDRESSES),
    st.builds(work.Done, ADDRESSES, TEXT),
    st.builds(work.Here, ADDRESSES, st.integers(0, 2**31), st.lists(EVENTS, max_size=3).map(tuple)),
    st.builds(work.All, TEXT, st.integers(0, 2**31)),
    st.builds(work.Hello, TEXT),
)
ORDERS = st.one_of(
    st.builds(work.Resync, st.integers(0, 2**31)),
    st.builds(work.Give, ADDRESSES, st.booleans(), st.binary(max_size=40)),
)
NOISE = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(HOSTILE),
    st.sampled_from(
        [b"[1,2,false,null]", b'["here","n","g","t","c",1]', b'["give","n","g","t","c",true]']
    ).flatmap(lambda head: st.binary(max_size=30).map(lambda rest: head + b"\n" + rest)),
)


@given(EVENTS, st.integers(AT_MS, 2**50), MARKETS)
def test_an_event_arrives_as_it_was_sent_and_its_bytes_are_those_for_clients(
    sent: Event, sent_ms: int, market: Market | None
) -> None:
    message = Message(sent, render_event(sent), sent_ms, market)
    assert parse_message(render_message(message)) == message


@given(NOISE)
def test_no_message_does_more_than_be_refused(data: bytes) -> None:
    for read in (parse_message, parse_user, work.parse_order, lambda each: work.parse_report(each, AT_MS)):
        try:
            read(data)
        except InvalidMessageError:
            continue


@given(JSON)
def test_a_user_is_two_words_and_nothing_else(value: object) -> None:
    try:
        tenant, user = parse_user(dumps(value))
    except InvalidMessageError:
        return
    assert [tenant, user] == value
    assert parse_user(render_user((tenant, user))) == (tenant, user)


@given(REPORTS)
def test_a_report_is_read_as_it_was_written(report: work.Report) -> None:
    assert work.parse_report(work.render_report(report), AT_MS) == report


@given(ORDERS)
def test_an_order_is_read_as_it_was_written(order: work.Order) -> None:
    assert work.parse_order(work.render_order(order)) == order


@given(st.lists(st.tuples(EVENTS, st.floats(0, 3)), max_size=60), st.integers(1, 8), st.integers(1, 5))
def test_a_tally_counts_by_priority_what_queues_count_together(
    offered: list[tuple[Event, float]], capacity: int, limit: int
) -> None:
    tally = Tally()
    boxes = [EventQueue(0.1, limit, capacity, tally) for _ in range(2)]
    now = 0.0
    for number, (each, step) in enumerate(offered):
        box = boxes[number % 2]
        box.offer(QueuedEvent(b"", each.priority), now)
        now += step
        box.take(now)
        assert sum(tally.dropped) == sum(box.dropped for box in boxes)
        assert sum(tally.limited) == sum(box.limited for box in boxes)
    assert tally.dropped[3] == tally.limited[3] == 0


@given(st.lists(st.sampled_from("abcdef"), max_size=12), st.lists(st.sampled_from("abcdef"), max_size=6))
def test_whoever_takes_a_group_over_gives_out_nothing_that_somebody_has_in_hand(
    in_hand: list[str], lost: list[str]
) -> None:
    group, one, two = Group(), ("acme", "one"), ("acme", "two")
    held = {name: event(name) for name in in_hand}
    assert group.restore(one, list(held.values()), AT_MS).deliveries == []
    assert group.restore(two, list(held.values()), AT_MS).deliveries == []
    assert group.in_flight(one) == {(None, name) for name in held}
    assert group.in_flight(two) == frozenset()
    again = group.retract(one, [(None, name) for name in lost], AT_MS)
    assert {(each.event.id, each.again) for each in again.deliveries} == {
        (name, True) for name in lost if name in held
    }
    assert group.pending == len(held)
    assert group.in_flight(one) | group.in_flight(two) == {(None, name) for name in held}
