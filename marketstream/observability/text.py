"""Remove secrets and control characters from text before it is shown.

Pure. `mask` looks for secrets in any text, such as a line of the log, and leaves what is none; `mask_setting`
is for the value of a setting, where it is better to hide too much. `printable` makes visible what moves a
cursor, colours, reverses or hides.
"""

import re
from urllib.parse import unquote

MASK = "***"

_DEEPEST = 3  # levels of percent-encoding that are looked through

_TOKEN = re.compile(r"eyJ[\w-]{4,1000}\.[\w-]+\.[\w-]*")
_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|pwd|pass$|auth|credential|signature|sig$|key$|private", re.IGNORECASE
)
_PARAMETER = re.compile(r"([?&;#])([^=&;#?\s\"']{1,200})=([^&;#\s\"']*)")
_ADDRESS = re.compile(r"([a-z][a-z0-9+.\-]{0,30}:/{1,3})([^\s\"'<>]{0,500})@", re.IGNORECASE)
_ENCODED = re.compile(r"[^\s\"'<>]{0,500}%(?:25)*40[^\s\"'<>]{0,500}", re.IGNORECASE)
_PORT = re.compile(r"(://[^\s\"'<>/?#@:\[\]]*:)([^\s\"'<>/?#@,]+)")
_SCHEME = re.compile(r"(?:[a-z][a-z0-9+.\-]*:)?/*", re.IGNORECASE)
# What may stand before a path that has an @ of its own: an address and perhaps its port, or several of them.
_HOST = r"(?:\[[0-9a-f:.]*\]|[\w.\-]*)(?::[0-9]{0,5})?"
_HOSTS = re.compile(rf"{_HOST}(?:,{_HOST})*", re.IGNORECASE)
_USER = re.compile(r"[\w.\-]*")
_SUSPECTS = ("=", "@", "%", "eyJ")


def mask(text: str) -> str:
    """Hide what looks like a JWT, a secret in a query, or a password in a URL; the rest stays."""
    if not any(sign in text for sign in _SUSPECTS):
        return text
    text = _TOKEN.sub(MASK, text)
    text = _PARAMETER.sub(_masked_parameter, text)
    text = _ENCODED.sub(_masked_encoded, text)
    return _ADDRESS.sub(_masked_address, text)


def mask_setting(value: str) -> str:
    """Hide whatever may be a secret in the value of a setting, however badly it is written.

    All before the last `@` may be a name and a password, and one without the other is hidden too; so may a
    port that is no number.
    """
    if "@" not in value and "@" in _decoded(value):
        value = _decoded(value)
    account, sign, rest = value.rpartition("@")
    if sign:
        scheme = _SCHEME.match(account)
        start = scheme[0] if scheme else ""
        value = f"{start}{_account(account[len(start) :])}@{rest}"
    return mask(_PORT.sub(lambda found: found[1] + (found[2] if found[2].isdecimal() else MASK), value))


def printable(text: str, keep: str = "") -> str:
    """Write control characters, overrides of direction and their like as escapes; the rest stays.

    Args:
        text: Any text, also one that is no Unicode.
        keep: Characters that may stay though they are such, such as a newline.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def _masked_parameter(found: re.Match[str]) -> str:
    sign, name, value = found.groups()
    plain = _decoded(value)
    if _SECRET_NAME.search(_decoded(name)) or (plain != value and mask(plain) != plain):
        return f"{sign}{name}={MASK}"
    return found[0]


def _masked_encoded(found: re.Match[str]) -> str:
    plain = _decoded(found[0])
    masked = mask(plain)
    return found[0] if masked == plain else masked


def _masked_address(found: re.Match[str]) -> str:
    scheme, account = found.groups()
    before, slash, _ = account.partition("/")
    if slash and scheme.lower().startswith(("http", "ws")) and _HOSTS.fullmatch(before):
        return found[0]  # the @ is part of a path
    return f"{scheme}{_account(account)}@"


def _account(account: str) -> str:
    """Return a name and a password without the password."""
    user, colon, _ = account.partition(":")
    return f"{user}:{MASK}" if colon and _USER.fullmatch(user) else MASK


def _decoded(text: str) -> str:
    for _ in range(_DEEPEST):
        if (plain := unquote(text)) == text:
            break
        text = plain
    return text
