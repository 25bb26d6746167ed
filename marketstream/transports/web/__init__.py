"""The pages: best prices moving, and the reference of the HTTP interface.

The live page is built from `sdk/page` into the folder `static` beside this module (`make page`); a wheel
holds it. An installation without it serves all else, and says at `/` how it is made. Refuses every asset
that is not in a list: no path is ever made from a request.
"""

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import structlog
from aiohttp import web

from marketstream.transports.web.asset import Asset

log = structlog.get_logger(__name__)

_SHIPPED: Final = files(__name__)
_INDEX: Final = "index.html"
_BUILT: Final[Mapping[str, str]] = {
    "app.js": "text/javascript",
    "app.css": "text/css",
    "licences.txt": "text/plain",
}
_ICON: Final = "favicon.svg"
_DOCS: Final = "docs.html"
_DOCS_TYPES: Final[Mapping[str, str]] = {"docs.js": "text/javascript", "docs.css": "text/css"}

_MODE: Final = b'data-mode="token"'
_PATH: Final = b'data-path="/socket.io/"'
_MISSING: Final = (
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>marketstream</title>'
    b"<p>The server runs, but its page was not built: run <code>make page</code> in a clone of the "
    b"repository, or install a wheel made by <code>make wheel</code>.</p></html>\n"
)


def add_page(app: web.Application, *, dev: bool, path: str, built: Traversable = _SHIPPED / "static") -> None:
    """Register the page at `/` and its files at `/assets/{name}`.

    It connects to Socket.IO as any client does. In development mode it also asks for `/dev/token` and
    `/dev/symbols`, which the caller serves; otherwise its user gives it a token.

    Args:
        app: Where it is served.
        dev: Whether this is development mode.
        path: Where Engine.IO is, such as `/socket.io/`.
        built: The folder that the page was built into.
    """
    assets = {_ICON: _shipped(_ICON, "image/svg+xml")}
    try:
        index = Asset.of(_told((built / _INDEX).read_bytes(), dev=dev, path=path), "text/html")
        assets |= {name: Asset.of((built / name).read_bytes(), kind) for name, kind in _BUILT.items()}
    except FileNotFoundError:
        log.warning("page_not_built", remedy="make page")
        index = Asset.of(_MISSING, "text/html", status=503)

    async def asset(request: web.Request) -> web.Response:
        found = assets.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return await found.answer(request)

    app.router.add_get("/", index.answer)
    app.router.add_get("/assets/{name}", asset)


def add_docs(app: web.Application, path: str) -> None:
    """Register the reference at a path and its files below it; it shows what `/api/v1/openapi.json` says.

    Raises:
        FileNotFoundError: The installation lacks one of the files; better at the start than at a request.
    """
    app.router.add_get(path, _shipped(_DOCS, "text/html").answer)
    for name, content_type in _DOCS_TYPES.items():
        app.router.add_get(f"{path}/{name}", _shipped(name, content_type).answer)


def _shipped(name: str, content_type: str) -> Asset:
    return Asset.of((_SHIPPED / name).read_bytes(), content_type)


def _told(index: bytes, *, dev: bool, path: str) -> bytes:
    """Return the index with what the page must know of its server."""
    told = index.replace(_PATH, f'data-path="{escape(path)}"'.encode(), 1)
    return told.replace(_MODE, b'data-mode="dev"', 1) if dev else told
