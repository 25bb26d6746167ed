import pytest

from marketstream.core.events.event import Event, Priority
from marketstream.core.events.group import Delivery, Group, Outcome
from tests.support.events import AT_MS, event

ANN, BOB, EVE = ("acme", "ann"), ("acme", "bob"), ("globex", "eve")


def group(*members: tuple[str, str], pending: int = 10, waiting: int = 10) -> Group:
    made = Group(pending, waiting)
    for member in members:
        made.join(member, AT_MS)
    return made


def given(outcome: Outcome) -> list[tuple[tuple[str, str], str]]:
    return [(delivery.member, delivery.event.id) for delivery in outcome.deliveries]


def assign(made: Group, *events: Event) -> list[tuple[tuple[str, str], str]]:
    return [pair for each in events for pair in given(made.assign(each, AT_MS))]


def test_an_event_goes_to_the_member_with_least_to_do() -> None:
    made = group(ANN, BOB)
    assert assign(made, event("1"), event("2")) == [(ANN, "1"), (BOB, "2")]
    made.ack(BOB, "2", AT_MS)
    assert assign(made, event("3")) == [(BOB, "3")]


def test_of_those_with_as_little_to_do_the_one_who_waited_for_longest_is_next() -> None:
    made = group(ANN, BOB)
    for number in range(6):
        member = (ANN, BOB)[number % 2]
        assert assign(made, event(str(number))) == [(member, str(number))]
        made.ack(member, str(number), AT_MS)


def test_what_a_member_had_goes_to_others_in_order_when_it_leaves() -> None:
    made = group(ANN)
    assign(made, *(event(str(number)) for number in range(3)))
    made.ack(ANN, "1", AT_MS)
    made.join(BOB, AT_MS)
    outcome = made.leave(ANN, AT_MS)
    assert outcome.deliveries == [Delivery(BOB, event(i), again=True) for i in ("0", "2")]
    assert made.ack(ANN, "0", AT_MS) == Outcome()


def test_without_a_member_events_wait_in_order_and_are_given_to_the_first_who_comes() -> None:
    """First what the one who left had, though two left in another order than they had been given it."""
    made = group(ANN, BOB, pending=1)
    assert assign(made, event("1"), event("2"), event("3")) == [(ANN, "1"), (BOB, "2")]
    for member in (ANN, BOB):
        made.leave(member, AT_MS)
    urgent = event("4", priority=Priority.CRITICAL)
    assert assign(made, urgent) == []
    assert (made.waiting, made.pending, made.members) == (4, 0, 0)
    done = given(made.join(ANN, AT_MS))
    for _ in range(3):
        done += given(made.ack(ANN, done[-1][1], AT_MS))
    assert [id_ for _, id_ in done] == ["4", "1", "2", "3"]


def test_a_member_who_joins_again_keeps_what_it_has() -> None:
    made = group(ANN)
    assign(made, event("1"))
    assert made.join(ANN, AT_MS) == Outcome()
    assert (made.pending, made.members) == (1, 1)


def test_a_member_has_only_so_much_in_hand() -> None:
    made = group(ANN, pending=2)
    assert len(assign(made, *(event(str(number)) for number in range(4)))) == 2
    assert given(made.ack(ANN, "0", AT_MS)) == [(ANN, "2")]


def test_no_member_gets_an_event_of_another_tenant() -> None:
    """And no tenant without workers stands in the way of another."""
    made = group(EVE)
    theirs, ours = event("1", tenant="acme"), event("1", tenant="globex")
    assert assign(made, theirs) == []
    assert assign(made, ours, event("2", tenant=None)) == [(EVE, "1"), (EVE, "2")]
    assert given(made.join(ANN, AT_MS)) == [(ANN, "1")]


def test_what_is_for_all_has_its_turn_among_what_is_of_a_tenant() -> None:
    """By priority first, then by age."""
    made = group(ANN, pending=1)
    assign(made, event("0", tenant="acme"), event("1", tenant=None), event("2", tenant="acme"))
    assign(made, event("3", tenant=None), event("4", tenant="acme", priority=Priority.HIGH))
    turns = [given(made.ack(ANN, done, AT_MS))[0][1] for done in "0412"]
    assert turns == ["4", "1", "2", "3"]


def test_an_id_means_the_event_of_the_members_own_tenant_first() -> None:
    made = group(ANN)
    assign(made, event("1", tenant="acme"), event("1", tenant=None))
    made.ack(ANN, "1", AT_MS)
    assert made.leave(ANN, AT_MS) == Outcome()
    assert given(made.join(ANN, AT_MS)) == [(ANN, "1")]


def test_an_event_that_is_being_done_is_not_given_again() -> None:
    made = group(ANN, BOB)
    assign(made, event("1"))
    assert assign(made, event("1")) == []
    made.ack(ANN, "1", AT_MS)
    assert len(assign(made, event("1"))) == 1


def test_too_many_that_wait_are_told_lowest_and_oldest_first() -> None:
    made = group(waiting=2)
    first, second = event("1", priority=Priority.LOW), event("2", priority=Priority.HIGH)
    assign(made, first, second)
    assert made.assign(event("3", priority=Priority.HIGH), AT_MS).dropped == [first]
    assert made.assign(event("4", priority=Priority.HIGH), AT_MS).dropped == [second]
    # One that was dropped may come again.
    assert made.assign(first, AT_MS).dropped == [first]


def test_the_tenant_with_most_that_waits_is_the_one_that_loses() -> None:
    made = group(waiting=3)
    quiet = event("quiet", tenant="globex", priority=Priority.LOW)
    assign(made, quiet, *(event(str(number), tenant="acme", priority=Priority.HIGH) for number in range(10)))
    assert quiet.id in [each for _, each in given(made.join(EVE, AT_MS))]


def test_what_has_expired_while_it_waited_is_told_and_not_given() -> None:
    made = group()
    late = event("1", expires_at_ms=AT_MS + 5)
    assign(made, late, event("2"))
    outcome = made.join(ANN, AT_MS + 5)
    assert (given(outcome), outcome.expired) == ([(ANN, "2")], [late])


def test_members_who_could_do_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="do nothing"):
        Group(pending=0)


def copies(*members: tuple[str, str], pending: int = 10, waiting: int = 10) -> Group:
    made = Group(pending, waiting, shared=False)
    for member in members:
        made.join(member, AT_MS)
    return made


def test_each_tenant_does_a_copy_of_what_is_for_all_unless_they_share_a_group() -> None:
    made = copies(ANN, BOB, EVE)
    assert sorted(assign(made, event("1"))) == [(ANN, "1"), (EVE, "1")]
    assert assign(made, event("1")) == []
    assert made.ack(EVE, "1", AT_MS) == Outcome()
    assert made.knows((None, "1"))
    assert given(made.leave(ANN, AT_MS)) == [(BOB, "1")]
    made.ack(BOB, "1", AT_MS)
    assert (made.knows((None, "1")), made.pending) == (False, 0)


def test_what_comes_before_any_member_waits_for_the_first_tenant_that_has_one() -> None:
    made = copies()
    assert assign(made, event("1"), event("2"), event("3", tenant="globex")) == []
    assert given(made.join(ANN, AT_MS)) == [(ANN, "1"), (ANN, "2")]
    assert given(made.join(EVE, AT_MS)) == [(EVE, "3")]
    assert made.waiting == 0


def test_a_copy_that_a_member_says_to_have_is_its_tenants() -> None:
    made = copies(EVE)
    assign(made, event("1"))
    assert made.restore(ANN, [event("1")], AT_MS) == Outcome()
    assert made.pending == 2
    made.leave(ANN, AT_MS)
    assert (made.waiting, made.pending) == (1, 1)
    assert given(made.join(BOB, AT_MS)) == [(BOB, "1")]
