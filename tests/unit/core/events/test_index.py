from marketstream.core.events.event import Event
from marketstream.core.events.filter import Filter
from marketstream.core.events.index import Index
from tests.support.events import event

ANN, BOB, EVE = ("acme", "ann"), ("acme", "bob"), ("globex", "eve")


def symbols(*values: str) -> Filter:
    return Filter(symbols=frozenset(values))


def test_an_event_finds_those_who_asked_for_it_and_says_by_which_names() -> None:
    index = Index()
    index.put(ANN, "zeta", symbols("AAPL"))
    index.put(ANN, "alpha", Filter(types=frozenset({"alert"})))
    index.put(ANN, "other", symbols("MSFT"))
    index.put(BOB, "mine", symbols("AAPL", "MSFT"))
    assert index.match(event(symbol="AAPL")) == {ANN: ("alpha", "zeta"), BOB: ("mine",)}


def test_an_event_of_a_tenant_stays_with_the_tenant() -> None:
    index = Index()
    for user in (ANN, EVE):
        index.put(user, "all", Filter())
    assert set(index.match(event(tenant="acme"))) == {ANN}
    assert set(index.match(event(tenant=None))) == {ANN, EVE}
    assert index.match(event(tenant="initech")) == {}


def test_a_changed_filter_replaces_the_one_before() -> None:
    index = Index()
    assert index.put(ANN, "mine", symbols("AAPL")) is None
    assert index.put(ANN, "mine", symbols("MSFT")) == symbols("AAPL")
    assert index.match(event(symbol="AAPL")) == {}
    assert index.match(event(symbol="MSFT")) == {ANN: ("mine",)}
    assert len(index) == 1


def test_a_confidence_is_compared_as_it_is_and_not_by_the_step_it_falls_into() -> None:
    """Thresholds closer to each other than a step are told apart all the same."""
    index = Index()
    close = [0.7, 0.7000000001, 0.71, 0.1 + 0.2, 0.3, 0.0, 1.0]
    for number, floor in enumerate(close):
        index.put(ANN, str(number), Filter(min_confidence=floor))
    for confidence in (*close, 0.70000000005):
        expected = {str(number) for number, floor in enumerate(close) if confidence >= floor}
        assert set(index.match(event(confidence=confidence))[ANN]) == expected
    assert index.match(event(confidence=None)) == {}


def test_one_who_is_dropped_receives_nothing_and_leaves_nothing_behind() -> None:
    index = Index()
    for number in range(300):
        index.put(ANN, f"s{number}", symbols("AAPL", f"X{number}"))
    assert len(index.drop(ANN)) == 300
    assert index.match(event(symbol="AAPL")) == {}
    assert (len(index), index.users, dict(index.held(ANN))) == (0, 0, {})
    assert not index._tenants
    assert not any(field._values or field._any for field in index._fields)
    assert not any((*index._priorities, *index._steps))


def test_numbers_that_became_free_are_used_again() -> None:
    """What is held bounds what it takes, not how often users come and go."""
    index = Index()
    for _ in range(50):
        for number in range(10):
            index.put(("acme", f"u{number}"), "mine", symbols("AAPL"))
        for number in range(10):
            index.drop(("acme", f"u{number}"))
    assert len(index._pairs) == 10


def test_rebuilding_gives_back_what_busier_times_have_left() -> None:
    index = Index()
    for number in range(100):
        index.put(("acme", f"u{number}"), "mine", symbols("AAPL"))
    for number in range(99):
        index.drop(("acme", f"u{number}"))
    index.rebuild()
    assert len(index._pairs) == 1
    assert index.match(event(symbol="AAPL")) == {("acme", "u99"): ("mine",)}


def test_many_rare_values_do_not_cost_a_set_of_everybody_each() -> None:
    """Somebody who thinks of thousands of values must not take a bit of every subscription for each."""
    index = Index()
    for number in range(5_000):
        # Some values have been rare for long: two who came early, and one late.
        early = f"Z{number % 4_000 // 2}"
        index.put(("acme", f"u{number}"), "mine", symbols(f"X{number}", f"Y{number // 2}", early))
    bit_sets = index._fields[2]._values.values()
    long = [bits for bits in bit_sets if bits._many.bit_length() > 1_000]
    assert long == []
    found: dict[Event, int] = {event(symbol=name): 0 for name in ("X4999", "Y0", "Y2499")}
    assert [len(index.match(each)) for each in found] == [1, 2, 2]
