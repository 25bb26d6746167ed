import pytest

from marketstream.core.delivery.entitlements import Plan, Principal
from marketstream.core.glob import compile_globs


def principal(plan: Plan, *symbols: str) -> Principal:
    """A caller on a plan; symbols are the globs of its token, none when the token does not narrow."""
    return Principal("u", "acme", plan, frozenset(), compile_globs(symbols) if symbols else None, 0)


@pytest.mark.parametrize(
    ("globs", "matched", "unmatched"),
    [
        (["*"], ["AAPL", "EUR/USD", "^GSPC"], []),
        (["EUR/*"], ["EUR/USD", "EUR/"], ["EUR", "USD/EUR", "XEUR/USD"]),
        (["SYM?"], ["SYM1"], ["SYM", "SYM12"]),
        (["SYM[0-4]"], ["SYM0", "SYM4"], ["SYM5"]),
        (["AAPL", "MSFT"], ["AAPL", "MSFT"], ["AAPLMSFT", "AAP", "AAPLX"]),
        (["BRK.B"], ["BRK.B"], ["BRKXB"]),
        (["A|B"], [], ["A", "B"]),
        ([], [], ["", "AAPL"]),
    ],
)
def test_globs_match_the_whole_name_and_nothing_else(
    globs: list[str], matched: list[str], unmatched: list[str]
) -> None:
    """Characters that mean something to a pattern but not to a glob are only characters."""
    pattern = compile_globs(globs)
    assert [name for name in matched if not pattern.match(name)] == []
    assert [name for name in unmatched if pattern.match(name)] == []


def test_a_plan_covers_every_symbol_and_channel_unless_it_says_which() -> None:
    plan = Plan("pro")
    assert plan.allows_symbol("EUR/USD")
    assert plan.allows_channel("sectors")


def test_a_plan_covers_the_symbols_and_channels_of_its_globs() -> None:
    plan = Plan("basic", symbols=("EUR/*", "AAPL"), channels=("ind*",))
    assert [plan.allows_symbol(s) for s in ("EUR/USD", "AAPL", "MSFT", "AAPL2")] == [True, True, False, False]
    assert [plan.allows_channel(c) for c in ("indices", "sectors")] == [True, False]


def test_a_plan_that_shows_prices_late_receives_no_channel_of_prices() -> None:
    plan = Plan("late", delay=900)
    heard = [c for c in ("indices", "sectors", "movers", "sentiment") if plan.allows_channel(c)]
    assert heard == ["sentiment"]


def test_a_plan_without_symbols_covers_none() -> None:
    assert not Plan("empty", symbols=()).allows_symbol("AAPL")


def test_a_token_that_names_no_symbols_leaves_the_plan_as_it_is() -> None:
    caller = principal(Plan("basic", symbols=("EUR/*",)))
    assert caller.allows_symbol("EUR/USD")
    assert not caller.allows_symbol("AAPL")


def test_a_token_narrows_what_the_plan_covers() -> None:
    caller = principal(Plan("pro"), "AAPL", "EUR/*")
    assert [caller.allows_symbol(s) for s in ("AAPL", "EUR/USD", "MSFT")] == [True, True, False]


def test_a_token_never_widens_what_the_plan_covers() -> None:
    caller = principal(Plan("basic", symbols=("EUR/*",)), "*")
    assert [caller.allows_symbol(s) for s in ("EUR/USD", "AAPL")] == [True, False]


@pytest.mark.parametrize(
    ("granted", "requested", "effective"),
    [(0, 0, 0), (0, 5, 5), (5, 0, 5), (5, 2, 2), (2, 5, 2), (0.5, 1, 0.5), (5, -1, 5), (0, -1, 0)],
)
def test_the_stricter_rate_counts_and_zero_means_unlimited(
    granted: float, requested: float, effective: float
) -> None:
    assert Plan("any", max_rate=granted).effective_rate(requested) == effective


def test_two_plans_that_say_the_same_are_equal() -> None:
    assert Plan("pro", symbols=("A",)) == Plan("pro", symbols=("A",))
    assert Plan("pro", symbols=("A",)) != Plan("pro", symbols=("B",))
