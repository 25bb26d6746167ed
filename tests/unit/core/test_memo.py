from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.memo import Memo


def test_what_was_put_first_gives_way() -> None:
    memo = Memo[str, int](2)
    memo["a"], memo["b"] = 1, 2
    assert memo.get("a") == 1
    memo["c"] = 3
    assert dict(memo) == {"b": 2, "c": 3}


def test_a_new_value_of_what_is_there_takes_no_other_place() -> None:
    memo = Memo[str, int](2)
    memo["a"], memo["b"] = 1, 2
    memo["a"] = 3
    assert dict(memo) == {"a": 3, "b": 2}


@given(st.integers(1, 5), st.lists(st.integers(0, 9)))
def test_it_never_holds_more_than_it_may_and_always_the_newest(most: int, keys: list[int]) -> None:
    memo = Memo[int, int](most)
    for number, key in enumerate(keys):
        memo[key] = number
        assert len(memo) <= most
        assert memo[key] == number
