"""The server that conformance tests speak to: plans of the tests' own, and what a module asks for in ENV."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server, serving

PLANS = Path(__file__).with_name("plans.toml")


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server for all tests of a module; the module's ENV says how it differs from the default."""
    env = {"MARKETSTREAM_AUTH__PLANS_FILE": str(PLANS), **getattr(request.module, "ENV", {})}
    with serving(env=env) as running:
        yield running
