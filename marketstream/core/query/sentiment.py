"""Compute the mood of the market as one number; the formula is in docs/protocol.md."""

from collections.abc import Sequence
from dataclasses import dataclass

FULL_MOVE = 2.0
"""Mean change in percent that counts as all there can be."""

_LABELS = ((20.0, "very bearish"), (40.0, "bearish"), (60.0, "neutral"), (80.0, "bullish"))


@dataclass(frozen=True, slots=True)
class Sentiment:
    """How the symbols of a market moved together.

    Attributes:
        score: 0 (all fall, by 2 % or more) to 100 (all rise, by 2 % or more); 50 is balance; one decimal.
        label: very bearish, bearish, neutral, bullish or very bullish: fifths of the score.
        advancers: Symbols above their close before.
        decliners: Symbols below it.
        unchanged: Symbols at it.
        mean_change_percent: Mean of their changes, percent, four decimals.
    """

    score: float
    label: str
    advancers: int
    decliners: int
    unchanged: int
    mean_change_percent: float


def sentiment(changes: Sequence[float]) -> Sentiment:
    """Return the mood behind changes.

    score = 50 + 25 x (advancers - decliners) / symbols + 25 x mean change / 2 %, the last quotient kept
    between -1 and 1.

    Args:
        changes: Change of each symbol in percent; at least one.

    Raises:
        ValueError: There is none.
    """
    if not changes:
        raise ValueError("the mood of no symbol at all")
    advancers = sum(change > 0 for change in changes)
    decliners = sum(change < 0 for change in changes)
    mean = sum(changes) / len(changes)
    breadth = (advancers - decliners) / len(changes)
    score = round(50 + 25 * breadth + 25 * max(-1.0, min(1.0, mean / FULL_MOVE)), 1)
    label = next((name for bound, name in _LABELS if score < bound), "very bullish")
    unchanged = len(changes) - advancers - decliners
    return Sentiment(score, label, advancers, decliners, unchanged, round(mean, 4))
