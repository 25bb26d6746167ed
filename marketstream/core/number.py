"""Parse numbers from outside: ASCII digits only.

Python also reads `1_0`, digits of other scripts, what has spaces around it, `inf` and `nan`. Two readers of
the same text must not disagree about it, so all of that is no number here.
"""

import re

_WHOLE = re.compile("[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def whole(text: str) -> int | None:
    """Return the whole number from 0 that a text is, of at most 18 digits; None when it is none."""
    return int(text) if _WHOLE.fullmatch(text) else None


def decimal(text: str) -> float | None:
    """Return the number that a text is, with a fraction or an exponent as in JSON; None when it is none.

    A number that is too large for a float is infinite, as its exponent says; no range contains it.
    """
    return float(text) if _DECIMAL.fullmatch(text) else None
