"""How clients of the Python SDK come back in tests: soon, and for as long as it takes."""

import asyncio
import random
from typing import Any

from marketstream_sdk.link import Pace

QUICK = Pace(sleep=lambda seconds: asyncio.sleep(seconds / 20), chance=random.random)

RETURNING: dict[str, Any] = {"pace": QUICK, "reconnect_attempts": 0}
"""Options of a client whose server is started again: that takes longer than five attempts at this pace."""
