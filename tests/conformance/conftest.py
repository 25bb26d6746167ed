"""The server that conformance tests speak to, with what a module asks for in ENV."""

from collections.abc import Iterator

import pytest

from tests.support.server import Server, serving


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server for all tests of a module; the module's ENV says how it differs from the default."""
    with serving(env=getattr(request.module, "ENV", {})) as running:
        yield running
