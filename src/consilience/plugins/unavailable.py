"""Kinds of plugin that the reference has and this version does not act on."""

from __future__ import annotations

from collections.abc import Mapping

UNAVAILABLE: Mapping[str, str] = {
    "tool_selection": "tools are neither added nor chosen by meaning",
    "memory": "nothing is remembered of users",
    "rag": "nothing is retrieved into the prompt",
    "router_replay": "requests are not kept for replay",
    "hallucination": "answers are not checked against their context",
    "response_jailbreak": "answers are not screened",
    "image_gen": "no images are made",
}
"""`type:` of such a plugin to what is lost by it. Their files load, with a warning."""
