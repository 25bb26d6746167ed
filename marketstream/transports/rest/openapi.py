"""Build the OpenAPI document from models and routes.

What an endpoint takes and gives is said once, as an `Operation`; the document and the routes are both made of
it, so neither can drift from the other.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic.json_schema import models_json_schema

from marketstream import __version__
from marketstream.transports.rest.schema import ErrorAnswer, Shape

PREFIX = "/api/v1/market"
_NAMED = re.compile(r"/\{(\w+)\}")
_REF = "#/components/schemas/{model}"

_ERRORS = {
    400: "a field is missing or impossible; `details.path` names it",
    401: "there is no good token",
    403: "the scope, the plan or the token does not cover this",
    404: "nothing is known of what the path names",
    409: "there are as many as there may be",
    413: "the body is too large",
    429: "asked more often than the plan allows; `Retry-After` says when to come back",
    503: "no source answered, and nothing is remembered; `details.attempts` says who was asked",
}
_LIMITS = {
    "RateLimit-Limit": "calls that the plan allows in a burst",
    "RateLimit-Remaining": "calls that are left of it",
    "RateLimit-Reset": "seconds until all of it is back",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint.

    Attributes:
        method: GET, POST, PUT or DELETE.
        path: Below `prefix`; names in braces stand for something; a symbol's slash may be written as %2F.
        summary: One sentence.
        scope: Scope of the token.
        answer: What is answered.
        handle: Answers.
        query: Query parameters.
        body: JSON body.
        status: Of the answer, when nothing goes wrong.
        metered: Whether calls count against what the plan allows, and the answer has a tag.
        streams: Whether the answers come one after the other, as events of a stream.
        prefix: Where the path begins.
        called: The operation's id, where the path does not say it.
    """

    method: str
    path: str
    summary: str
    scope: str
    answer: type[Shape]
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
    query: type[Shape] | None = None
    body: type[Shape] | None = None
    status: int = 200
    metered: bool = True
    streams: bool = False
    prefix: str = PREFIX
    called: str = ""

    @property
    def name(self) -> str:
        """The operation's id, such as `get_quote`."""
        if self.called:
            return self.called
        words = _NAMED.sub("", self.path).strip("/").replace("/", "_")
        return f"{self.method.lower()}_{words}"

    @property
    def errors(self) -> list[int]:
        """Statuses from 400 on that it may answer with."""
        checked = any(name in self.path for name in ("{symbol}", "{subscription}"))
        fields = self.query is not None or checked
        return [
            *([400] if fields or self.body else []),
            401,
            403,
            *([404] if _NAMED.search(self.path) else []),
            *([409] if self.method == "PUT" else []),
            *([413] if self.body else []),
            *([429] if self.metered else []),
            503,
        ]


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document of some operations."""
    shapes = [shape for o in operations for shape in (o.answer, o.query, o.body) if shape is not None]
    every: list[type[Shape]] = list(dict.fromkeys([*shapes, ErrorAnswer]))
    refs, definitions = models_json_schema([(shape, "validation") for shape in every], ref_template=_REF)
    schemas = {shape: refs[shape, "validation"] for shape in every}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        entry = paths.setdefault(operation.prefix + operation.path, {})
        entry[operation.method.lower()] = _describe(operation, schemas, definitions["$defs"])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "marketstream",
            "version": __version__,
            "description": "Single answers about the market. Prices as they change come over Socket.IO and "
            "server-sent events.",
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _describe(
    operation: Operation, schemas: Mapping[type[Shape], Any], definitions: Mapping[str, Any]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Scope `{operation.scope}`.",
        "parameters": _parameters(operation, definitions),
        "responses": _responses(operation, schemas),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schemas[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(operation: Operation, definitions: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{symbol}" in operation.path:
        schema = {
            "type": "string",
            "pattern": r"^[A-Za-z0-9.\-_/=^:]{1,32}$",
            "examples": ["AAPL", "EUR/USD"],
        }
        found.append({"name": "symbol", "in": "path", "required": True, "schema": schema})
    others = [name for name in _NAMED.findall(operation.path) if name != "symbol"]
    found += [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in others]
    if operation.query is not None:
        fields = definitions[operation.query.__name__]["properties"]
        found += [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]
    return found


def _responses(operation: Operation, schemas: Mapping[type[Shape], Any]) -> dict[str, Any]:
    limits = {name: {"description": text, "schema": {"type": "integer"}} for name, text in _LIMITS.items()}
    kind = "text/event-stream" if operation.streams else "application/json"
    answer: dict[str, Any] = {
        "description": "events, whose data are these" if operation.streams else "the answer",
        "content": {kind: {"schema": schemas[operation.answer]}},
    }
    if operation.metered and not operation.streams:
        answer["headers"] = limits | {"ETag": {"schema": {"type": "string"}}}
    responses: dict[str, Any] = {str(operation.status): answer}
    if operation.method == "GET" and not operation.streams:
        responses["304"] = {"description": "what `If-None-Match` names has not changed"}
    failure = {"application/json": {"schema": schemas[ErrorAnswer]}}
    for status in operation.errors:
        responses[str(status)] = {"description": _ERRORS[status], "content": failure}
    return responses
