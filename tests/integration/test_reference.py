"""What the OpenAPI document says, held against a real server in development mode by generated requests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.server import Server, serving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = (
    "get_overview",
    "get_indices",
    "get_sectors",
    "get_movers",
    "get_sentiment",
    "get_quote",
    "get_historical",
    "get_profile",
    "get_news",
    "post_search",
    "get_providers",
    "post_publish",
    "get_ws_stats",
    "get_cache_stats",
    "get_jobs_status",
    "get_jobs",
    "get_jobs_stream",
    "post_jobs_run",
    "post_events",
    "get_event_subscriptions",
    "get_event_subscription",
    "put_event_subscription",
    "delete_event_subscription",
    "get_event_health",
)
ENDLESS = ("get_admin_stream",)
"""Operations without an answer to wait for."""

EXAMPLES = 25
PLANS = "[plans.pro]\nrate_limit = { capacity = 1000000, refill = 1000 }\n[plans.basic]\n"


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in development mode whose plan has room for everything a test asks."""
    plans = tmp_path_factory.mktemp("plans") / "plans.toml"
    plans.write_text(PLANS)
    with serving(
        "--dev", env={"MARKETSTREAM_AUTH__PLANS_FILE": str(Path(plans))}, feeds=("synthetic",)
    ) as one:
        yield one


def test_the_document_has_these_operations_and_no_others(roomy: Server) -> None:
    schema = schemathesis.openapi.from_url(f"{roomy.url}/api/v1/openapi.json")
    items = schema.raw_schema["paths"].values()
    assert sorted(each["operationId"] for item in items for each in item.values()) == sorted(
        (*OPERATIONS, *ENDLESS)
    )


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_is_asked_is_answered_as_the_document_says(
    roomy: Server, name: str, mode: GenerationMode
) -> None:
    """No status that is not in the document, no body of another shape, and never a fault of the server."""
    schema = schemathesis.openapi.from_url(f"{roomy.url}/api/v1/openapi.json")
    operation = schema.find_operation_by_id(name)
    headers = {"Authorization": f"Bearer {roomy.token(scopes=('market:read', 'market:publish', 'admin'))}"}

    with requests.Session() as session:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case[Any]) -> None:
            response = case.call(session=session, headers=headers)
            case.validate_response(response, checks=CHECKS)
            if "symbol" in case.path_parameters:
                # One that is generated is hardly ever one that is known.
                case.path_parameters["symbol"] = "EUR/USD"
                case.validate_response(case.call(session=session, headers=headers), checks=CHECKS)

        ask()
