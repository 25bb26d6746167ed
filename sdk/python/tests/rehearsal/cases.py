"""What the tests of this client share: the cases that all client libraries decide alike, and quotes."""

import json
from pathlib import Path
from typing import Any

from marketstream_sdk import Quote, Side

GOLDEN = Path(__file__).parents[4] / "tests/golden"


def golden(path: str) -> str:
    """A frozen message."""
    return (GOLDEN / path).read_text()


def golden_event(name: str) -> tuple[str, Any]:
    """Name and payload of a frozen Socket.IO event."""
    text = golden(f"socketio/{name}.txt")
    event, payload = json.loads(text[text.index("[") :])
    return event, payload


def golden_answer(name: str) -> Any:
    """The payload of a frozen acknowledgement."""
    text = golden(f"socketio/{name}.txt")
    [payload] = json.loads(text[text.index("[") :])
    return payload


def quote(symbol: str = "A", number: float = 1, timestamp: int | None = None) -> Quote:
    """A quote whose middle is `number`, and which is newer than those of smaller numbers."""
    at = int(number) if timestamp is None else timestamp
    return Quote(symbol, Side(number - 0.5, 10.0, "a"), Side(number + 0.5, None, "b"), number, 1.0, 1.0, at)
