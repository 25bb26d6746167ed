"""nginx as a door that shows a server below the path `/md/`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.support.balancer import find_balancer
from tests.support.eventually import eventually
from tests.support.program import Program, clean_environment
from tests.support.server import free_port

WAYS = {
    # What a proxy does with the path, and what it says of it.
    "strips and says so": ("/", "proxy_set_header X-Forwarded-Prefix /md;"),
    "strips and is silent": ("/", ""),
    "passes on and says so": ("", "proxy_set_header X-Forwarded-Prefix /md;"),
    "passes on and is silent": ("", ""),
}
_CONFIG = """
events {{}}
http {{
    access_log off;
    {folders}
    map $http_upgrade $connection_header {{ '' ''; default upgrade; }}
    server {{
        listen 127.0.0.1:{port};
        location /md/ {{
            proxy_pass http://127.0.0.1:{server}{end};
            {said}
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_header;
            proxy_buffering off;
        }}
    }}
}}
"""


@asynccontextmanager
async def door(server: int, way: str, folder: Path) -> AsyncIterator[str]:
    """The address of a server behind nginx, without a slash at its end.

    Args:
        server: The server's port.
        way: One of `WAYS`.
        folder: For what nginx writes.
    """
    end, said = WAYS[way]
    port = free_port()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    file = folder / "nginx.conf"
    file.write_text(_CONFIG.format(folders=folders, port=port, server=server, end=end, said=said))
    own = f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;"
    words = [find_balancer("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(file), "-g", own]
    url = f"http://127.0.0.1:{port}/md"
    with Program(words, env=clean_environment(), merged=True):
        async with aiohttp.ClientSession() as session:
            await eventually(lambda: _answers(session, url), 10, "an answer through nginx")
        yield url


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with asyncio.timeout(1), session.get(f"{url}/healthz") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
