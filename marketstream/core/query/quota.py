"""Count what may still be asked of a provider, and whose share it is.

A `Quota` counts in whole minutes and whole days of UTC, as vendors do, and knows until when it was told to
keep quiet. It is told the time, and it never grants more than its allowance within one minute or one day.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

MINUTE_MS = 60_000
DAY_MS = 86_400_000

MOST_SHARES = 10_000
"""Shares that are counted here; the one that was quiet for longest begins anew."""

_AT_ONCE = 0.5


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much may be asked; 0 means as much as one likes.

    Attributes:
        per_minute: Questions in a minute.
        per_day: Questions on a day of UTC.
    """

    per_minute: int
    per_day: int

    def part(self, of_day: float, of_minute: float) -> "Allowance":
        """Return a part of it, one question at least.

        Args:
            of_day: From 0 to 1.
            of_minute: The same of a minute.
        """
        return Allowance(_part(self.per_minute, of_minute), _part(self.per_day, of_day))


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom a question is asked, and what about.

    Attributes:
        user: Tenant and user; None: the server itself.
        plan: Name of the user's plan.
        user_share: Part of a day that one user may spend.
        plan_share: Part of a day that all users of the plan may spend together.
        known: Whether what it is about is known to exist.
    """

    user: tuple[str, str] | None = None
    plan: str = ""
    user_share: float = 1.0
    plan_share: float = 1.0
    known: bool = True


SERVER = Asker()
"""The server itself, about something that there is."""

Whose = Literal["user", "plan", "unknown"]


@dataclass(frozen=True, slots=True)
class Share:
    """A part of an allowance.

    Attributes:
        whose: Of a user, of all users of a plan, or of all questions about what may not exist.
        name: Tells it apart from others.
        allowance: How much it is.
    """

    whose: Whose
    name: str
    allowance: Allowance


def shares(whole: Allowance, asker: Asker, reserve: float) -> list[Share]:
    """Return the parts that a question counts against, beside the whole.

    Args:
        whole: All that may be asked.
        asker: Who asks.
        reserve: Part that is kept for what is known to exist.
    """
    found: list[Share] = []
    if asker.user is not None and asker.user_share < 1:
        # Of a minute half: whoever opens a page asks for much at once, and others still get their turn.
        part = whole.part(asker.user_share, max(asker.user_share, _AT_ONCE))
        found.append(Share("user", "\0".join(("user", *asker.user)), part))
    if asker.user is not None and asker.plan_share < 1:
        part = whole.part(asker.plan_share, max(asker.plan_share, _AT_ONCE))
        found.append(Share("plan", f"plan\0{asker.plan}", part))
    if not asker.known and reserve > 0:
        found.append(Share("unknown", "unknown", whole.part(1 - reserve, 1 - reserve)))
    return found


class Quota:
    """Counts what was asked.

    Args:
        allowance: How much may be asked.
    """

    __slots__ = ("_allowance", "_day", "_in_day", "_in_minute", "_minute", "_quiet_until")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._minute = self._day = -1
        self._in_minute = self._in_day = 0
        self._quiet_until = 0.0

    def take(self, now: float, at_ms: int) -> float:
        """Count one question, if it may be asked.

        Args:
            now: Monotonic seconds.
            at_ms: Epoch milliseconds; a clock that was set back or forward begins new counts.

        Returns:
            0.0 when it may, else the seconds until the next one will, and nothing was counted.
        """
        wait = self.wait(now, at_ms)
        if wait == 0.0:
            self._add()
        return wait

    def wait(self, now: float, at_ms: int) -> float:
        """Return seconds until the next question may be asked, without counting any; 0.0 for now."""
        self._turn(at_ms)
        return max(self._quiet_until - now, self._missing(at_ms), 0.0)

    def allow(self, allowance: Allowance) -> None:
        """Go on with another allowance; what was counted stays."""
        self._allowance = allowance

    def count(self, at_ms: int) -> None:
        """Count a question that somebody else allowed.

        Args:
            at_ms: Epoch milliseconds.
        """
        self._turn(at_ms)
        self._add()

    def spend(self, now: float, seconds: float) -> None:
        """Grants nothing for so many seconds; never shortens what it was told before.

        Args:
            now: Monotonic seconds.
            seconds: How long.
        """
        self._quiet_until = max(self._quiet_until, now + seconds)

    def _turn(self, at_ms: int) -> None:
        minute, day = at_ms // MINUTE_MS, at_ms // DAY_MS
        if minute != self._minute:
            self._minute, self._in_minute = minute, 0
        if day != self._day:
            self._day, self._in_day = day, 0

    def _missing(self, at_ms: int) -> float:
        allowed = self._allowance
        if 0 < allowed.per_day <= self._in_day:
            return (DAY_MS - at_ms % DAY_MS) / 1000
        if 0 < allowed.per_minute <= self._in_minute:
            return (MINUTE_MS - at_ms % MINUTE_MS) / 1000
        return 0.0

    def _add(self) -> None:
        self._in_minute += 1
        self._in_day += 1


class Quotas:
    """Counts for several providers, and for the shares of each.

    Args:
        allowances: What each allows, by its name; any other allows everything.
        most: Shares to remember.
    """

    __slots__ = ("_most", "_shares", "_wholes")

    def __init__(self, allowances: Mapping[str, Allowance], most: int = MOST_SHARES) -> None:
        self._wholes = {name: Quota(allowance) for name, allowance in allowances.items()}
        self._shares: OrderedDict[tuple[str, str], Quota] = OrderedDict()
        self._most = most

    def take(
        self, provider: str, parts: Sequence[Share], now: float, at_ms: int
    ) -> tuple[float, Share | None]:
        """Count one question, if all allow it.

        Args:
            provider: Whom it is for.
            parts: Shares that it counts against.
            now: Monotonic seconds.
            at_ms: Epoch milliseconds.

        Returns:
            0.0, or the seconds until one will be allowed, with the share that is the reason if one is.
        """
        wait = self._whole(provider).wait(now, at_ms)
        if wait > 0:
            return wait, None
        for part in parts:
            if (wait := self._share(provider, part).wait(now, at_ms)) > 0:
                return wait, part
        self.count(provider, parts, at_ms)
        return 0.0, None

    def count(self, provider: str, parts: Sequence[Share], at_ms: int) -> None:
        """Count a question that somebody else allowed."""
        self._whole(provider).count(at_ms)
        for part in parts:
            self._share(provider, part).count(at_ms)

    def spend(self, provider: str, now: float, seconds: float) -> None:
        """See `Quota.spend`."""
        self._whole(provider).spend(now, seconds)

    def _whole(self, provider: str) -> Quota:
        return self._wholes.setdefault(provider, Quota(Allowance(0, 0)))

    def _share(self, provider: str, part: Share) -> Quota:
        key = provider, part.name
        quota = self._shares.get(key)
        if quota is None:
            quota = self._shares[key] = Quota(part.allowance)
            if len(self._shares) > self._most:
                self._shares.popitem(last=False)
        # A user may come with another plan.
        quota.allow(part.allowance)
        self._shares.move_to_end(key)
        return quota


def _part(whole: int, part: float) -> int:
    return max(1, ceil(whole * part)) if whole else 0
