"""The OpenAPI document: what clients may send and what they get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from ..chat.request import ROLES
from ..explain import SelectionStatus

_EVENTS = 'data: {"object": "chat.completion.chunk", "choices": []}\n\ndata: [DONE]\n\n'
_ANY_OBJECT: Mapping[str, Any] = {"type": "object", "additionalProperties": True}


def openapi_document(version: str) -> dict[str, Any]:
    """Gives the OpenAPI 3.1 document of every route."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Consilience",
            "version": version,
            "description": "Chat completions answered by a panel of models, or by one.",
        },
        "security": [{"bearer": []}],
        "paths": {
            "/v1/chat/completions": {"post": _chat()},
            "/v1/models": {"get": _get("The names that a request may use", "ModelList")},
            "/v1/models/{model}": {"get": _model()},
            "/api/v1/eval": {"post": _eval()},
            "/health": {"get": {**_get("Whether the process runs", "Status"), "security": []}},
            "/ready": {"get": _ready()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _get("This document", "Document")},
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _chat() -> dict[str, Any]:
    return {
        "operationId": "createChatCompletion",
        "summary": "Answer a conversation",
        "requestBody": {"required": True, "content": _json("ChatRequest")},
        "responses": {
            "200": {
                "description": "The answer; a stream of `chat.completion.chunk` events if asked",
                "content": {
                    **_json("ChatCompletion"),
                    "text/event-stream": {"example": _EVENTS},
                },
            },
            **_errors("400", "401", "402", "403", "404", "405", "408", "413", "414", "415"),
            **_errors("422", "429", "431", "500", "501", "502", "503", "504"),
        },
    }


def _eval() -> dict[str, Any]:
    return {
        "operationId": "explainRoute",
        "summary": "Say where a request would go; no model is called",
        "parameters": [
            {
                "name": "trace",
                "in": "query",
                "description": "Adds `eval_trace`, the rule tree of every decision",
                "schema": {"enum": ["true", "false", "1", "0"], "default": "false"},
            }
        ],
        "requestBody": {"required": True, "content": _json("EvalRequest")},
        "responses": {
            "200": {"description": "The explanation", "content": _json("Explanation")},
            **_errors("400", "401", "403", "404", "405", "408", "413", "414", "415", "429"),
            **_errors("431", "500", "503", "504"),
        },
    }


def _model() -> dict[str, Any]:
    operation = _get("One of the names", "Model")
    operation["parameters"] = [
        {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    operation["responses"] |= _errors("404")
    return operation


def _ready() -> dict[str, Any]:
    operation = _get("Whether requests can be served", "Status")
    operation["responses"]["503"] = {"description": "Not yet", "content": _json("Status")}
    return {**operation, "security": []}


def _metrics() -> dict[str, Any]:
    operation = _get("What is counted, in Prometheus' text format", "Error")
    text = {"schema": {"type": "string"}}
    operation["responses"]["200"]["content"] = {"text/plain": text}
    operation["responses"] |= _errors("403", "404")
    return operation


def _get(summary: str, schema: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": _json(schema)},
            **_errors("401", "405", "414", "429", "431"),
        },
    }


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _errors(*statuses: str) -> dict[str, Any]:
    return {s: {"description": "An error", "content": _json("Error")} for s in statuses}


def _schemas() -> dict[str, Any]:
    text, number = {"type": "string"}, {"type": "integer"}
    return {
        "ChatRequest": {
            "type": "object",
            "required": ["model", "messages"],
            "additionalProperties": True,
            "properties": {
                "model": {**text, "minLength": 1},
                "messages": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"$ref": "#/components/schemas/Message"},
                },
                "stream": {"type": "boolean"},
                "temperature": {"type": "number", "minimum": 0},
                "max_completion_tokens": {**number, "minimum": 1},
                "plugins": {
                    "type": "array",
                    "items": {**_ANY_OBJECT, "required": ["id"], "properties": {"id": text}},
                },
            },
        },
        **_eval_schemas(),
        "Message": {
            "type": "object",
            "required": ["role"],
            "additionalProperties": True,
            "properties": {
                "role": {"enum": list(ROLES)},
                "content": {"type": ["string", "array", "null"], "items": _ANY_OBJECT},
            },
        },
        "ChatCompletion": {
            **_ANY_OBJECT,
            "required": ["id", "object", "created", "model", "choices"],
            "properties": {
                "id": text,
                "object": {"const": "chat.completion"},
                "created": number,
                "model": text,
                "choices": {"type": "array", "minItems": 1, "items": _ANY_OBJECT},
                "usage": _ANY_OBJECT,
                "fusion": {**_ANY_OBJECT, "description": "The trace of a Fusion answer"},
            },
        },
        "Model": {
            **_ANY_OBJECT,
            "required": ["id", "object", "created", "owned_by"],
            "properties": {
                "id": text,
                "object": {"const": "model"},
                "context_window": {"type": ["integer", "null"]},
                "capabilities": {"type": "array", "items": text},
            },
        },
        "ModelList": {
            "type": "object",
            "required": ["object", "data"],
            "properties": {
                "object": {"const": "list"},
                "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
            },
        },
        "Status": {"type": "object", "required": ["status"], "properties": {"status": text}},
        "Document": _ANY_OBJECT,
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["message", "type", "param", "code"],
                    "properties": {
                        "message": text,
                        "type": text,
                        "param": {"type": ["string", "null"]},
                        "code": text,
                    },
                }
            },
        },
    }


def _eval_schemas() -> dict[str, Any]:
    text, number, flag = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
    maybe_text, maybe_number = {"type": ["string", "null"]}, {"type": ["number", "null"]}
    tokens = {"prompt_tokens": number, "completion_tokens": number, "total_tokens": number}
    return {
        "EvalRequest": {
            **_ANY_OBJECT,
            "description": "A chat-completions body, or `text` (`query`) in place of `messages`",
            "properties": {
                "model": {**maybe_text, "description": "Default: the first auto alias"},
                "messages": {
                    "type": ["array", "null"],
                    "minItems": 1,
                    "items": {"$ref": "#/components/schemas/Message"},
                },
                "text": maybe_text,
                "query": maybe_text,
            },
            "anyOf": [{"required": [name]} for name in ("messages", "text", "query")],
        },
        "Explanation": {
            **_ANY_OBJECT,
            "required": ["requested_model", "selection_status", "signals", "calls", "estimate"],
            "properties": {
                "requested_model": text,
                "recipe": maybe_text,
                "routing_decision": maybe_text,
                "decision_result": {**_ANY_OBJECT, "type": ["object", "null"]},
                "decisions": _objects(decision_name=text, matched=flag, selected=flag, reason=text),
                "algorithm": maybe_text,
                "selected_model": maybe_text,
                "selection_status": {"enum": list(get_args(SelectionStatus))},
                "selection_reason": text,
                "signals": _objects(
                    type=text,
                    name=text,
                    matched=flag,
                    confidence=maybe_number,
                    value=maybe_number,
                    error=maybe_text,
                ),
                "metrics": _ANY_OBJECT,
                "projections": _objects(
                    type={"enum": ["partition", "score", "mapping"]}, name=text
                ),
                "plugins": _objects(type=text, effect=text),
                "calls": _objects(
                    stage=text, model=text, count=number, **tokens, cost_usd=maybe_number
                ),
                "estimate": {
                    **_ANY_OBJECT,
                    "properties": {"calls": number, **tokens, "cost_usd": maybe_number},
                },
                "eval_trace": _objects(decision_name=text, matched=flag, root_trace=_ANY_OBJECT),
            },
        },
    }


def _objects(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """An array of objects that have these fields."""
    item = {**_ANY_OBJECT, "required": list(properties), "properties": properties}
    return {"type": "array", "items": item}
