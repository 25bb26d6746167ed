from marketstream.coordination.gossip_state import Announcements, Others
from marketstream.wire.interest import Word


def announced() -> Announcements:
    """One that has told everything: A."""
    made = Announcements("me")
    assert made.next(["A"]) == Word("me", 1, "whole", ("A",))
    return made


def test_the_first_word_is_everything_also_when_that_is_nothing() -> None:
    assert Announcements("me").next([]) == Word("me", 1, "whole")


def test_a_change_is_told_with_the_next_number() -> None:
    made = announced()
    made.touch("B", ["A", "B"])
    assert made.next(["A", "B"]) == Word("me", 2, "change", ("B",))
    made.touch("A", ["B"])
    assert made.next(["B"]) == Word("me", 3, "change", (), ("A",))


def test_what_comes_and_goes_before_it_is_told_is_no_word() -> None:
    made = announced()
    made.touch("B", ["A", "B"])
    made.touch("B", ["A"])
    made.touch("A", [])
    made.touch("A", ["A"])
    assert made.next(["A"]) is None
    assert made.number == 1


def test_nothing_is_no_word_and_costs_no_number() -> None:
    made = announced()
    assert made.next(["A"]) is None
    made.touch("B", ["A", "B"])
    assert made.next(["A", "B"]) == Word("me", 2, "change", ("B",))


def test_after_a_failure_everything_is_told_in_a_word_of_its_own() -> None:
    """The number of the one that failed is not used again: somebody may have heard of it."""
    made = announced()
    made.touch("B", ["A", "B"])
    made.next(["A", "B"])
    made.failed()
    word = made.next(["A", "B"])
    assert word is not None
    assert (word.number, word.kind, set(word.added), word.dropped) == (3, "whole", {"A", "B"}, ())
    assert made.next(["A", "B"]) is None


def test_when_everything_is_to_be_told_what_changes_until_then_is_told_once() -> None:
    made = announced()
    made.rewrite()
    made.touch("B", ["A", "B"])
    made.touch("A", ["B"])
    assert made.next(["B"]) == Word("me", 2, "whole", ("B",))
    assert made.next(["B"]) is None


def others(**numbers: int) -> Others:
    """Those that were read up to some numbers."""
    made = Others("me")
    assert all(made.read(node, number) for node, number in numbers.items())
    return made


def test_a_change_that_follows_is_news_once() -> None:
    made = others(a=3)
    word = Word("a", 4, "change", ("X",))
    assert [made.heard(word), made.heard(word)] == ["news", "nothing"]


def test_a_hole_a_stranger_and_a_rewriting_must_be_read() -> None:
    """And as often as they are heard until that was done."""
    made = others(a=3)
    for word in (
        Word("a", 5, "change"),
        Word("b", 2, "change"),
        Word("a", 4, "whole"),
        Word("a", 5, "change"),
    ):
        assert made.heard(word) == "missed"


def test_the_first_word_of_a_stranger_may_be_its_change_number_nought() -> None:
    assert Others("me").heard(Word("a", 0, "change")) == "news"


def test_ones_own_words_and_old_ones_are_nothing() -> None:
    made = others(a=3)
    for word in (Word("me", 9, "change"), Word("a", 3, "gone"), Word("a", 2, "whole")):
        assert made.heard(word) == "nothing"


def test_who_says_that_it_ends_is_gone() -> None:
    made = others(a=3)
    assert made.heard(Word("a", 4, "gone")) == "gone"
    assert made.forget(["a", "b"]) == ["a"]
    assert made.known == []


def test_what_was_read_is_older_than_what_was_heard_meanwhile() -> None:
    made = others(a=3)
    made.heard(Word("a", 4, "change"))
    assert [made.read("a", 4), made.read("a", 5), made.read("b", 0)] == [False, True, True]


def test_signs_of_life_show_who_was_not_heard_and_who_is_gone() -> None:
    made = others(a=3, b=1, c=2)
    assert made.compare({"a": 4, "b": 1, "d": 0}, 0.0) == (["a", "d"], ["c"])


def test_nobody_is_gone_while_a_redis_that_forgot_them_may_learn_of_them_again() -> None:
    made = others(a=3)
    made.be_patient(10.0)
    assert made.compare({}, 9.9) == ([], [])
    assert made.compare({}, 10.0) == ([], ["a"])
