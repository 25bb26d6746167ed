"""Read what is left of a message that is no JSON.

Half an emoji, a NaN or a thousand brackets in one field of a call do not keep its answer from its caller.
"""

import re
from collections.abc import Collection
from typing import Any

from marketstream.errors import InvalidMessageError
from marketstream.wire.json import loads

MAX_TOKENS = 10_000
"""Strings and runs of brackets that are looked at: ten times what the longest call needs."""

_STRING = rb'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(_STRING + rb"|[{\[]+|[}\]]+", re.DOTALL)
_MEMBER = re.compile(rb"\s*:\s*(" + _STRING + rb'|[^\s{}\[\],:"]+)', re.DOTALL)


def salvage(data: bytes, names: Collection[str]) -> dict[str, Any]:
    """Return the members of an object that is damaged.

    Args:
        data: A text that begins like an object.
        names: Of the members that are looked for.

    Returns:
        Those that are there, not in another member's value, and a string, number, boolean or null; of those
        with one name the last.
    """
    found: dict[str, Any] = {}
    depth = 0
    for _, token in zip(range(MAX_TOKENS), _TOKEN.finditer(data), strict=False):
        match data[token.start() : token.start() + 1]:
            case b"{" | b"[":
                depth += token.end() - token.start()
            case b"}" | b"]":
                depth -= token.end() - token.start()
            case _ if depth == 1 and (name := token[0][1:-1].decode("utf-8", "replace")) in names:
                _add(found, name, _MEMBER.match(data, token.end()))
    return found


def _add(found: dict[str, Any], name: str, member: re.Match[bytes] | None) -> None:
    if member is not None:
        try:
            found[name] = loads(member[1])
        except InvalidMessageError:
            # It is what is damaged.
            found.pop(name, None)
