"""The whole application in the process of the test, for answers that need no process of their own.

Its routes, and what is around every answer, are those of a server that these settings start. Nothing runs
behind them: no feed, no job, no bus; the connections are aiohttp's own. So a test of anything that happens by
itself, or of what is no request, needs `running_server`.
"""

from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient

from marketstream import wiring
from marketstream.app import Server
from marketstream.settings import load_settings
from tests.support.program import clean_environment

SECRET = "a secret of 32 bytes, which is enough"

Web = TestClient[web.Request, web.Application]


async def serve(aiohttp_client: AiohttpClient, **env: str) -> Web:
    """A client of the application that some settings describe, by their names behind `MARKETSTREAM_`."""
    given = {f"MARKETSTREAM_{name}": value for name, value in env.items()}
    environ = clean_environment({"MARKETSTREAM_JWT_SECRET": SECRET} | given)
    settings = load_settings({}, None, environ).settings
    server = Server(settings)
    answers = wiring.build_answers(server.app, settings, server.node)
    client = await aiohttp_client(server.app)
    runner = client.server.runner
    assert isinstance(runner, web.AppRunner)
    answers.attach(runner)
    return client
