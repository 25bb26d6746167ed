"""The pages: best prices moving (development mode only), and the reference of the HTTP interface.

Promises that a browser loads nothing but the files shipped beside this module, runs no inline script and
talks to no other host. Refuses every asset that is not in the list: no path is ever made from a request.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Final

from aiohttp import hdrs, web

_INDEX: Final = "index.html"
_CONTENT_TYPES: Final[Mapping[str, str]] = {
    _INDEX: "text/html",
    "app.js": "text/javascript",
    "board.js": "text/javascript",
    "stream.js": "text/javascript",
    "style.css": "text/css",
    "favicon.svg": "image/svg+xml",
}
_DOCS: Final = "docs.html"
_DOCS_TYPES: Final[Mapping[str, str]] = {"docs.js": "text/javascript", "docs.css": "text/css"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final[Mapping[str, str]] = {
    hdrs.CACHE_CONTROL: "no-cache",
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    """One shipped file, read once.

    Attributes:
        body: Its bytes, UTF-8.
        content_type: Media type without the charset.
        etag: Digest of the bytes, so that it changes exactly when they do.
    """

    body: bytes
    content_type: str
    etag: str

    def answer(self, request: web.Request) -> web.Response:
        """The file, or 304 when the browser holds these very bytes."""
        known = {tag.value for tag in request.if_none_match or ()}
        if known & {self.etag, "*"}:
            response = web.Response(status=304, headers=_HEADERS)
        else:
            response = web.Response(
                body=self.body, content_type=self.content_type, charset="utf-8", headers=_HEADERS
            )
        response.etag = self.etag
        return response


def _read(name: str, content_type: str) -> _Asset:
    body = files(__name__).joinpath(name).read_bytes()
    return _Asset(body, content_type, sha256(body).hexdigest()[:16])


def add_page(app: web.Application) -> None:
    """Registers the page at `/` and its files at `/assets/{name}`.

    The page itself asks for `/dev/token`, `/dev/symbols` and `/market-data/stream`, which the caller serves.

    Raises:
        FileNotFoundError: The installation lacks one of the files; better at the start than at a request.
    """
    assets = {name: _read(name, content_type) for name, content_type in _CONTENT_TYPES.items()}

    async def index(request: web.Request) -> web.Response:
        return assets[_INDEX].answer(request)

    async def asset(request: web.Request) -> web.Response:
        found = assets.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return found.answer(request)

    app.router.add_get("/", index)
    app.router.add_get("/assets/{name}", asset)


def add_docs(app: web.Application, path: str) -> None:
    """Registers the reference at a path and its files below it; it shows what `/api/v1/openapi.json` says.

    Raises:
        FileNotFoundError: As `add_page`.
    """
    docs = _read(_DOCS, "text/html")
    assets = {name: _read(name, content_type) for name, content_type in _DOCS_TYPES.items()}

    def serving(asset: _Asset) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def serve(request: web.Request) -> web.Response:
            return asset.answer(request)

        return serve

    app.router.add_get(path, serving(docs))
    for name, asset in assets.items():
        app.router.add_get(f"{path}/{name}", serving(asset))
