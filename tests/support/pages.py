"""Pages for a browser: a source bundled with the TypeScript SDK, and a folder served over HTTP."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

INDEX = '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">'
INDEX += '<title>Prices</title><div id="root"></div><script src="page.js"></script></html>\n'

ENTRIES = {"/react": "react.js", "/sse": "sse.js", "": "index.js"}


def bundle(sdk: Path, source: Path, folder: Path) -> None:
    """Makes a page of one source, which imports the SDK by the names it is published under.

    Args:
        sdk: The SDK's folder, built.
        source: A TypeScript file; it finds an element `root` to render into.
        folder: Where `index.html` and `page.js` go.

    Raises:
        CalledProcessError: The source does not build; stderr says why.
    """
    command = [
        str(sdk / "node_modules/.bin/esbuild"),
        str(source),
        *("--bundle", "--jsx=automatic", "--target=es2022", f"--outfile={folder / 'page.js'}"),
        *(f"--alias:@marketstream/client{name}={sdk / 'dist' / file}" for name, file in ENTRIES.items()),
        *("--define:process.env.NODE_ENV='development'", "--log-level=error"),
    ]
    subprocess.run(command, check=True, env=os.environ | {"NODE_PATH": str(sdk / "node_modules")})
    (folder / "index.html").write_text(INDEX)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it has above
        """Says nothing: a test reads the page, not this."""


@contextmanager
def serving_folder(folder: Path) -> Iterator[str]:
    """Origin of a web server that gives out the files of a folder inside the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
