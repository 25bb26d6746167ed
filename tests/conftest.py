"""What every test may ask for, and what every test is held to.

A test must not depend on the settings of the shell it runs in, and must leave no task behind.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from pytest_asyncio import is_async_test

from tests.support.browser import find_chromium
from tests.support.cluster import Cluster, running_cluster
from tests.support.eventually import TIME_SCALE
from tests.support.node import Node, find_node
from tests.support.program import SETTINGS
from tests.support.sdk import find_sdk
from tests.support.server import Server, serving
from tests.support.valkey import Valkey, running_valkey

TAPES = "MARKETSTREAM_TAPES"
PATIENCE = "3"
TURNS_TO_END = 20


def pytest_configure() -> None:
    """Takes the server's settings out of the environment; the folder of tapes is the tests' own.

    Limits are stretched unless the environment says otherwise, in scripts too: a limit only bounds a failure,
    and tests share their processors with each other and with whatever else the machine does.
    """
    os.environ.setdefault(TIME_SCALE, PATIENCE)
    for name in [name for name in os.environ if name.startswith(SETTINGS) and name != TAPES]:
        del os.environ[name]
    # What a shell runs in the background ignores Ctrl-C, and programs that tests start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says more about what else the machine does than about the code.
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> None:
    """Holds asynchronous tests to the rule below; set up before other fixtures, so it looks after them."""
    if is_async_test(request.node):
        request.getfixturevalue("no_task_left")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fails a test that leaves a task behind; one that is on its way out gets a few turns to end."""
    yield
    for _ in range(TURNS_TO_END):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0)
    pytest.fail(f"the test left tasks behind: {sorted(map(repr, left))}", pytrace=False)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server for all tests of a module; the module's FEEDS and FLAGS say how it is started."""
    flags = getattr(request.module, "FLAGS", ())
    with serving(*flags, feeds=getattr(request.module, "FEEDS", ("none",))) as running:
        yield running


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[Valkey]:
    """One Valkey for all tests that do it no harm."""
    with running_valkey() as running:
        yield running


@pytest.fixture
def valkey(shared_valkey: Valkey) -> Valkey:
    """A Valkey that knows nothing."""
    shared_valkey.flush()
    return shared_valkey


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """One Valkey cluster for all tests that do it no harm."""
    with running_cluster() as running:
        yield running


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """A cluster that knows nothing."""
    shared_cluster.flush()
    return shared_cluster


@pytest.fixture(scope="session")
def node() -> Node:
    """Runs the scripts of `tests/node`."""
    return find_node()


@pytest.fixture(scope="session")
def sdk() -> Path:
    """Folder of the TypeScript SDK, built."""
    return find_sdk()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser, for a script's environment as CHROMIUM."""
    return find_chromium()
