"""What a wheel of this tree holds."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.eventually import scaled
from tests.support.program import clean_environment

ROOT = Path(__file__).parents[2]
STATIC = "marketstream/transports/web/static/"


def test_a_wheel_holds_the_page_that_was_built(tmp_path: Path) -> None:
    """Whoever installs it needs no Node; it is built here without asking anybody for anything."""
    built = {STATIC + path.name: path.read_bytes() for path in (ROOT / STATIC).glob("*")}
    assert {f"{STATIC}{name}" for name in ("index.html", "app.js", "app.css", "licences.txt")} == set(built)
    command = [
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-index"),
        *("--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)),
    ]
    pip = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, timeout=scaled(60), check=False
    )
    assert pip.returncode == 0, pip.stderr
    [wheel] = tmp_path.glob("marketstream-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if name.startswith(STATIC)}
        assert {"marketstream/app.py", "marketstream/config/default.toml"} <= set(archive.namelist())
    assert held == built
