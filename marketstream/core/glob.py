"""Match the globs of plans, tokens and symbol lists."""

import re
from collections.abc import Iterable
from fnmatch import translate


def compile_globs(globs: Iterable[str]) -> re.Pattern[str]:
    """Return one pattern that matches what any of the globs matches; no glob at all matches nothing."""
    return re.compile("|".join(translate(glob) for glob in globs) or r"(?!)")
