"""HAProxy and nginx with the files of `config/`, in front of two gateways.

The files are run as they are. HAProxy takes its addresses from the environment; in nginx's file the ports and
the folder of its logs are replaced, and it is told to keep its temporary files with the test's. Both are
ordinary processes of the test, ended by their own id.
"""

import copy
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.gateways import gateways, is_ready
from tests.support.program import Program, clean_environment
from tests.support.server import Server, free_port, running_server

KINDS = ("haproxy", "nginx")
CONFIG = Path(__file__).parents[2] / "config"
SECRET = "a secret that all gateways behind one door have in common"
# The two gateways see a client's own address only by what the balancer says of it.
ENV = {
    "MARKETSTREAM_JWT_SECRET": SECRET,
    "MARKETSTREAM_SERVER__ROLE": "gateway",
    "MARKETSTREAM_SERVER__TRUSTED_PROXIES": "127.0.0.1/32",
    "MARKETSTREAM_SSE__RETRY_MS": "100",
}
# Every token begins like this: it is the JSON of a header.
TOKEN_START = "eyJ"
SBIN = ("/usr/local/sbin", "/usr/sbin")


def find_balancer(kind: str) -> str:
    """Path of a balancer's program, also where Debian hides it from ordinary users."""
    found = shutil.which(kind, path=os.pathsep.join((os.environ.get("PATH", ""), *SBIN)))
    if found is None:
        pytest.fail(f"there is no {kind} here; install the Debian package or run `make setup`", pytrace=False)
    return found


def command(kind: str, folder: Path, port: int, ports: Sequence[int], *flags: str) -> Program:
    """Starts a balancer with its file in `config/`.

    Args:
        kind: One of `KINDS`.
        folder: For what it writes.
        port: Where it shall listen.
        ports: Those of two gateways.
        *flags: Further flags, such as those that make it check the file only.
    """
    program = find_balancer(kind)
    first, second = (f"127.0.0.1:{number}" for number in ports)
    if kind == "haproxy":
        env = {
            "MARKETSTREAM_BIND": f"127.0.0.1:{port}",
            "MARKETSTREAM_GATEWAY_1": first,
            "MARKETSTREAM_GATEWAY_2": second,
        }
        words = [program, "-f", str(CONFIG / "haproxy.cfg"), *flags]
        return Program(words, env=clean_environment(env), merged=True)
    file = folder / "nginx.conf"
    file.write_text(_moved((CONFIG / "nginx.conf").read_text(), folder, f"127.0.0.1:{port}", first, second))
    own = f"daemon off; pid {folder}/nginx.pid; error_log stderr notice;"
    words = [program, "-p", str(folder), "-e", "stderr", "-c", str(file), "-g", own, *flags]
    return Program(words, env=clean_environment(), merged=True)


def _moved(text: str, folder: Path, listen: str, first: str, second: str) -> str:
    """The file of nginx with other addresses and folders; it has no way to take them from the environment."""
    own = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    for old, new in (
        ("http {\n", f"http {{ {own}\n"),
        ("127.0.0.1:8080", listen),
        ("127.0.0.1:8081", first),
        ("127.0.0.1:8082", second),
        ("/var/log/nginx", str(folder)),
    ):
        assert old in text, f"config/nginx.conf says {old!r} no more"
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Stage:
    """Two gateways and the door in front of them.

    Attributes:
        kind: Which balancer it is.
        door: The balancer, to speak to as if it were a server.
        servers: The gateways themselves.
        feed: The process that feeds the market.
        folder: Where the balancer writes.
    """

    kind: str
    door: Server
    servers: tuple[Server, Server]
    feed: Server
    folder: Path
    program: Program

    @property
    def log(self) -> str:
        """All that the balancer has written so far, on its output and into files."""
        files = [file.read_text(errors="replace") for file in self.folder.glob("*.log")]
        return "\n".join([*self.program.out, *files])


@asynccontextmanager
async def stage(kind: str, bus: str, folder: Path) -> AsyncIterator[Stage]:
    """A balancer that answers for two gateways that are ready, with a process that feeds the market.

    Raises:
        AssertionError: The balancer wrote a token down.
    """
    async with (
        running_server("--bus", bus, "--role", "feed") as feed,
        gateways(bus, env=ENV, owner=False) as servers,
    ):
        await eventually(lambda: is_ready(feed), 10, "a process that feeds the market")
        first, second = servers
        door = copy.copy(first)
        door.port = free_port()
        door.url = f"http://127.0.0.1:{door.port}"
        program = command(kind, folder, door.port, [server.port for server in servers])
        found = Stage(kind, door, (first, second), feed, folder, program)
        try:
            await eventually(lambda: _answers(found), 10, f"an answer by {kind}")
            yield found
        except BaseException as error:
            error.add_note("\n".join([f"{kind} wrote last:", *found.log.splitlines()[-40:]]))
            raise
        finally:
            program.terminate()
    assert TOKEN_START not in found.log, f"{kind} wrote a token down"


async def _answers(found: Stage) -> bool:
    assert found.program.running, f"{found.kind} ended: {found.program.out}"
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{found.door.url}/healthz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
