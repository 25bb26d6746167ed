"""Decide which provider to ask next, and after which pause.

Providers are asked in their order. One that failed for the moment is asked again, up to three times, after
pauses of 1 s and 2 s; every other failure sends the question to the next provider at once. The whole takes
5 s at most. It never waits where waiting cannot help: not beyond the deadline, and not for a provider whose
attempt took longer than half of what would be left, as long as there is another one to ask.

It refuses nothing and knows no provider: only names, outcomes and times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

DEADLINE = 5.0
"""Seconds that all attempts together may take."""

TRIES = 3
PAUSES = (1.0, 2.0)
JITTER = 0.1

UNKNOWN = "UNKNOWN_SYMBOL"
"""Outcome: the provider answered that it does not have what was asked for."""

Outcome = Literal["transient", "resting", "unknown", "final"]
Reason = Literal["deadline", "unknown", "failed"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One question that was not answered.

    Attributes:
        provider: Who was asked.
        code: What became of it: an error code.
        seconds: How long it took.
    """

    provider: str
    code: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Wait, then ask a provider.

    Attributes:
        provider: Whom.
        delay: Seconds to wait before.
        limit: Seconds that the attempt may take.
    """

    provider: str
    delay: float
    limit: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody is left to ask, or no time.

    Attributes:
        reason: `deadline`: time is over; `unknown`: those who could answer do not have it; `failed`: else.
    """

    reason: Reason


Step = Ask | GiveUp


class Failover:
    """One question on its way from provider to provider.

    Args:
        providers: Names in the order in which they are asked.
        now: Monotonic seconds at which the question came.
        deadline: Seconds that it may take.

    Attributes:
        attempts: What was tried without an answer, oldest first.
        tries: How many times somebody was asked so far.
    """

    __slots__ = ("_broken", "_end", "_index", "_mine", "_providers", "_unknown", "attempts", "tries")

    def __init__(self, providers: Sequence[str], now: float, deadline: float = DEADLINE) -> None:
        self._providers = tuple(providers)
        self._end = now + deadline
        self._index = 0
        self._mine = 0
        self._unknown = self._broken = False
        self.attempts: list[Attempt] = []
        self.tries = 0

    def begin(self, now: float) -> Step:
        """Whom to ask first."""
        return self._ask(now, 0.0)

    def failed(self, outcome: Outcome, code: str, *, took: float, now: float, chance: float) -> Step:
        """Return what to do after the provider that was asked last gave no answer.

        Args:
            outcome: transient: it may answer if it is asked again; resting: it is left alone because it broke
                down before; unknown: it does not have it; final: it will not answer this.
            code: Error code, for the record.
            took: Seconds the attempt lasted.
            now: Monotonic seconds.
            chance: Random number from 0 to 1 for the jitter.
        """
        self.attempts.append(Attempt(self._providers[self._index], code, took))
        self._unknown |= outcome == "unknown"
        self._broken |= outcome in ("transient", "resting")
        if outcome == "transient" and self._mine < TRIES:
            pause = PAUSES[self._mine - 1] * (1 + JITTER * (2 * chance - 1))
            left = self._end - now - pause
            if left > 0 and (self._is_last or left / 2 >= took):
                return self._ask(now, pause)
        self._index += 1
        self._mine = 0
        return self._ask(now, 0.0)

    @property
    def _is_last(self) -> bool:
        return self._index >= len(self._providers) - 1

    def _ask(self, now: float, delay: float) -> Step:
        left = self._end - now - delay
        if self._index >= len(self._providers):
            return GiveUp(self._verdict(left))
        if left <= 0:
            return GiveUp("deadline")
        self._mine += 1
        self.tries += 1
        # Half of what is left: one that hangs must leave the others the time to answer.
        return Ask(self._providers[self._index], delay, left if self._is_last else left / 2)

    def _verdict(self, left: float) -> Reason:
        if left <= 0:
            return "deadline"
        # A provider that is out of quota says nothing about a symbol, and may be so for hours. One that broke
        # down might have known it a moment later.
        return "unknown" if self._unknown and not self._broken else "failed"
