"""Lets atheris look for inputs that break the law of a target: `python -m tests.fuzz.run NAME [FLAG...]`.

Flags are those of libFuzzer. What it finds is kept as `tests/artifacts/fuzz/NAME-crash-...`; the corpus grows
in `tests/artifacts/fuzz/NAME`.
"""

import importlib
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

ARTIFACTS = Path("tests/artifacts/fuzz")


def main() -> None:
    """Fuzz one target until a limit among the flags, or for ever."""
    # Not a module that the tests need, and not to be had for every Python.
    atheris: Any = importlib.import_module("atheris")
    name, *flags = sys.argv[1:]
    with atheris.instrument_imports(include=["marketstream"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    target = targets[name]
    corpus = ARTIFACTS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in target.inputs():
        (corpus / sha256(data).hexdigest()[:16]).write_bytes(data)
    limits = ["-timeout=5", "-rss_limit_mb=1024", f"-artifact_prefix={ARTIFACTS}/{name}-"]
    atheris.Setup([sys.argv[0], *limits, *flags, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
