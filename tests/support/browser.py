"""The Chromium that browser tests drive, through `tests/node/chromium.mjs`.

A machine without one fails the test with the name of what is missing; nothing is passed over.
"""

import os
import shutil

import pytest

NAMES = ("chromium", "google-chrome", "google-chrome-stable")


def find_chromium() -> str:
    """Path of the browser: the one named by `CHROMIUM`, or else the first found on PATH."""
    named = os.environ.get("CHROMIUM")
    for name in (named,) if named else NAMES:
        if path := shutil.which(name):
            return path
    pytest.fail(
        f"there is no {named or 'Chromium'} here; install the Debian package chromium or run `make setup`",
        pytrace=False,
    )
