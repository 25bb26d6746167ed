"""Say how long each kind of answer is fresh, and how long it may serve as fallback."""

from dataclasses import dataclass

QUOTE_FALLBACK = 300.0
FALLBACK = 86_400.0
UNKNOWN_TTL = 600.0
"""Seconds for which it is remembered that nobody, or one provider, knows a symbol."""
KNOWN_TTL = 7 * 86_400.0
"""Seconds for which it is remembered that a symbol exists."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """One kind of answer.

    Attributes:
        kind: What providers offer it as, or `market` for what is worked out here.
        ttl: Seconds for which an answer is given out as it is.
        fallback: Seconds after that for which it stands in when nobody answers.
    """

    kind: str
    ttl: float
    fallback: float = FALLBACK

    @property
    def kept(self) -> float:
        """Seconds after which it is gone for good."""
        return self.ttl + self.fallback


QUOTE = CachePolicy("quote", 60, QUOTE_FALLBACK)
HISTORICAL = CachePolicy("historical", 3_600)
PROFILE = CachePolicy("profile", 1_800)
NEWS = CachePolicy("news", 900)
SEARCH = CachePolicy("search", 900)
INDICES = CachePolicy("market", 120)
SENTIMENT = CachePolicy("market", 300)
SECTORS = CachePolicy("market", 300)
MOVERS = CachePolicy("market", 300)
