import pytest

from marketstream.core.query.quota import Allowance, Asker, shares

WHOLE = Allowance(60, 1_000)


@pytest.mark.parametrize(
    ("whole", "of_day", "of_minute", "part"),
    [
        (WHOLE, 0.1, 0.5, Allowance(30, 100)),
        (WHOLE, 0.0001, 0.001, Allowance(1, 1)),
        (Allowance(7, 0), 0.5, 0.5, Allowance(4, 0)),
    ],
)
def test_a_part_is_one_question_at_least_and_of_no_limit_none(
    whole: Allowance, of_day: float, of_minute: float, part: Allowance
) -> None:
    assert whole.part(of_day, of_minute) == part


def test_a_user_has_a_part_of_the_day_and_half_of_a_minute() -> None:
    (share,) = shares(WHOLE, Asker(("acme", "ann"), user_share=0.1, known=True), 0.0)
    assert (share.whose, share.allowance) == ("user", Allowance(30, 100))


def test_who_asks_for_what_may_not_exist_leaves_the_reserve() -> None:
    (share,) = shares(WHOLE, Asker(known=False), 0.2)
    assert (share.whose, share.allowance) == ("unknown", Allowance(48, 800))
    assert list(shares(WHOLE, Asker(known=True), 0.2)) == []
