"""The TypeScript SDK as it is built, for programs that use it like anybody else."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "sdk" / "typescript"


def find_sdk() -> Path:
    """The SDK's folder, with its packages and its `dist`; fails the test when `make` has not made them."""
    if not (FOLDER / "node_modules").is_dir():
        pytest.fail(
            "the packages of the TypeScript SDK are missing; `make setup` installs them", pytrace=False
        )
    built = FOLDER / "dist" / "index.js"
    sources = [*(FOLDER / "src").rglob("*.ts"), FOLDER / "package.json", FOLDER / "tsup.config.ts"]
    if not built.exists() or built.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        pytest.fail(
            "the TypeScript SDK is not built from these sources; `make setup` builds it", pytrace=False
        )
    return FOLDER
