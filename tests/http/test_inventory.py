"""What the gateway tells about itself: models, health, readiness, its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from consilience.upstream.scripted import ScriptedUpstream
from support.client import ask, get
from support.live import fusion_yaml, live_gateway


def test_models_lists_the_names_that_mean_a_choice(gateway_url: str) -> None:
    listed = get(gateway_url, "/v1/models").json
    assert listed["object"] == "list"
    assert [m["id"] for m in listed["data"]] == ["vllm-sr/auto", "auto", "MoM", "vllm-sr/fusion"]
    for model in listed["data"]:
        assert (model["object"], model["owned_by"]) == ("model", "consilience")
        assert model["routing"]["resolution"] == "virtual"
    assert listed["data"][0]["routing"]["default_route"] is True


def test_models_lists_configured_models_when_asked_to() -> None:
    config = fusion_yaml() + "  router: {include_config_models_in_list: true}\n"
    with live_gateway(config, ScriptedUpstream()) as url:
        models = {m["id"]: m for m in get(url, "/v1/models").json["data"]}
    assert {"a", "b", "j", "vllm-sr/fusion"} <= models.keys()
    assert models["a"]["routing"] == {"resolution": "passthrough", "selectable": False}


def test_one_model_is_found_by_its_name_slashes_included(gateway_url: str) -> None:
    for name in ("a", "vllm-sr/fusion", "vllm-sr%2Ffusion"):
        assert get(gateway_url, f"/v1/models/{name}").json["id"] == name.replace("%2F", "/")


def test_an_unknown_model_is_a_404(gateway_url: str) -> None:
    reply = get(gateway_url, "/v1/models/zzz")
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")


def test_health_and_readiness_are_told(gateway_url: str) -> None:
    health = get(gateway_url, "/health").json
    assert health["status"] == "ok"
    assert health["version"]
    assert get(gateway_url, "/ready").json == {"status": "ready"}


def test_every_reference_in_the_document_resolves(gateway_url: str) -> None:
    document = get(gateway_url, "/openapi.json").json
    assert document["openapi"].startswith("3.1")
    references = list(_references(document))
    assert references
    for reference in references:
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert isinstance(target, dict)


def test_the_document_names_every_route_and_its_answers(gateway_url: str) -> None:
    paths = get(gateway_url, "/openapi.json").json["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert "200" in operation["responses"], (path, method)
            if method == "get":
                assert get(gateway_url, path.replace("{model}", "a")).status == 200
    assert "post" in paths["/v1/chat/completions"]


def test_an_answer_and_an_error_have_the_documented_fields(gateway_url: str) -> None:
    schemas = get(gateway_url, "/openapi.json").json["components"]["schemas"]
    assert set(schemas["ChatCompletion"]["required"]) <= set(ask(gateway_url, "a").json)
    documented = schemas["Error"]["properties"]["error"]["required"]
    assert set(documented) == set(ask(gateway_url, "zzz").error)
    assert set(schemas["Model"]["required"]) <= set(get(gateway_url, "/v1/models/a").json)


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
