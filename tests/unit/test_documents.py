"""What documents say of the tree is true, as far as a program can tell."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "marketstream"
DECISIONS = sorted((ROOT / "docs/adr").glob("*.md"))
HEADINGS = ["Context", "Decision", "What was measured", "Considered", "Consequences", "How to undo"]
REQUIRED = {"Context", "Decision", "How to undo"}
NAMED = re.compile(r"`([\w/]+\.(?:py|lua))`")
FOLDER = re.compile(r"  ([a-z_]+(?:/[a-z_]+)*)/")
MODULE = re.compile(r"    (\w+\.py) +\S")


def codemap() -> list[str]:
    """Return the modules of the codemap, as paths below the package."""
    text = (ROOT / "ARCHITECTURE.md").read_text().partition("## Codemap")[2]
    modules, folder = [], ""
    for line in text.split("```")[1].splitlines():
        if module := MODULE.match(line):
            modules.append(folder + module[1])
        elif named := FOLDER.match(line):
            folder = f"{named[1]}/"
    return modules


def test_the_codemap_names_every_module_once() -> None:
    """Whoever adds, moves or removes a module changes its line in ARCHITECTURE.md."""
    modules = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")]
    assert sorted(codemap()) == sorted(path for path in modules if not path.endswith("__init__.py"))


def test_every_file_that_the_architecture_names_exists() -> None:
    named = set(NAMED.findall((ROOT / "ARCHITECTURE.md").read_text()))
    files = [path.as_posix() for path in PACKAGE.rglob("*.*")]
    assert named
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name[:4])
def test_a_decision_has_number_title_status_date_and_sections_in_one_order(path: Path) -> None:
    text = path.read_text()
    title, status, date = re.match(r"# (.+)\n\n- Status: (.+)\n- Date: (.+)\n", text).groups()  # type: ignore[union-attr]
    assert title.startswith(f"{path.name[:4]}: ")
    assert re.fullmatch(r"accepted|superseded by \[\d{4}\]\(.+\)", status)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", date)
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert set(sections) >= REQUIRED
    assert sections[0] == "Context"
    assert sections[-1] == "How to undo"
    assert set(sections) <= set(HEADINGS)
