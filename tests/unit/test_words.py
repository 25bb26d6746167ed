"""Names are made of the field's words, as the glossary of ARCHITECTURE.md has them."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("marketstream", "sdk/python", "tests")

# Words that once stood for something that the field has a term for. Those that are ordinary English in other
# senses (take, give, market, join, lost, place, the book of orders) are not here: only classes lost them.
RETIRED = frozenset(
    {
        *(
            "adopt",
            "barred",
            "budget",
            "bury",
            "canary",
            "demand",
            "desk",
            "duties",
            "ear",
            "ears",
            "flights",
        ),
        *("hear", "hears", "heed", "heritage", "holdings", "inn", "intake", "mailbox", "mailboxes", "meter"),
        *("mirror", "mute", "muted", "orphan", "orphans", "places", "postings", "presence", "provided"),
        *(
            "provision",
            "resign",
            "road",
            "roads",
            "roster",
            "shelf",
            "sing",
            "unemployed",
            "unheard",
            "unserved",
        ),
    }
)
CANDIDATE = re.compile("|".join(sorted(RETIRED)), re.IGNORECASE)

# Names that stay, and why.
ALLOWED = {
    "demand": "an option of the synthetic feed",
    "_demand": "where the synthetic feed keeps it",
    "mute_after": "an option of the feeds yahoo and alpaca",
    "MUTE_AFTER": "its default",
}
# Names of tests are sentences, and may speak of an option.
ALLOWED_IN_TESTS = frozenset({"demand"})


def words(name: str) -> set[str]:
    """Split a name at underscores, digits and capitals."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def retired(name: str) -> set[str]:
    """Return the retired words in a name."""
    if name in ALLOWED:
        return set()
    return (words(name) & RETIRED) - (ALLOWED_IN_TESTS if name.startswith("test_") else set())


def names(path: Path) -> Iterator[str]:
    """Yield a file's own name and every identifier in it."""
    yield path.name.removesuffix(path.suffix)
    # Tokens are dear, and most files hold no such word at all.
    if path.suffix == ".py" and CANDIDATE.search(text := path.read_text()):
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        yield from {token.string for token in tokens if token.type == tokenize.NAME}


def files(folder: str) -> list[Path]:
    """Return the files of a folder that were not installed."""
    found = (ROOT / folder).rglob("*")
    return [path for path in found if path.is_file() and not {"node_modules", "__pycache__"} & {*path.parts}]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_name_holds_a_retired_word(folder: str) -> None:
    found = {
        (str(path.relative_to(ROOT)), name) for path in files(folder) for name in names(path) if retired(name)
    }
    assert found == set()


def test_every_allowed_name_is_still_in_use() -> None:
    """An exception that nobody needs any more goes."""
    used = {
        name for folder in FOLDERS for path in files(folder) if path != Path(__file__) for name in names(path)
    }
    assert set(ALLOWED) - used == set()


@pytest.mark.parametrize(
    "name", ["EventDesk", "event_desk", "_roads", "HTTPRoster2", "mute", "test_a_desk_opens"]
)
def test_a_retired_word_is_found_wherever_it_stands_in_a_name(name: str) -> None:
    assert retired(name)


@pytest.mark.parametrize(
    "name", ["desktop", "broadcast", "mute_after", "hearing", "test_on_demand_it_quotes"]
)
def test_other_words_are_left_alone(name: str) -> None:
    assert not retired(name)
