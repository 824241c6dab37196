"""Knowledge bases that the reference's files may name without declaring them: their layout only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ATTACKS = [
    "prompt_injection",
    "credential_exfiltration",
    "jailbreak_role",
    "system_prompt_extraction",
]
_PRIVATE = [
    *("proprietary_code", "internal_document", "pii", "business_strategy", "trade_secret_ip"),
    *("operational_infrastructure", "locality_directive", "customer_data"),
]
_HARD = ["architecture_analysis", "root_cause_analysis", "multi_step_tradeoffs"]
_EASY = ["generic_coding", "simple_task", "general_knowledge"]

DEFAULT_BASES: Mapping[str, Mapping[str, Any]] = {
    "privacy_kb": {
        "source": {"path": "knowledge_bases/privacy/"},
        "threshold": 0.55,
        "groups": {
            "security_containment": _ATTACKS,
            "privacy_policy": _PRIVATE,
            "frontier_reasoning": _HARD,
            "local_standard": _EASY,
            "private": [*_ATTACKS, *_PRIVATE],
            "public": [*_HARD, *_EASY],
        },
        "metrics": [
            {
                "name": "private_vs_public",
                "type": "group_margin",
                "positive_group": "private",
                "negative_group": "public",
            }
        ],
    },
    "mmlu_kb": {
        "source": {"path": "knowledge_bases/mmlu/"},
        "threshold": 0.25,
        "groups": {
            "escalate": [
                *("biology", "business", "computer science", "economics", "history", "math"),
                *("other", "philosophy", "psychology"),
            ],
            "keep": ["chemistry", "engineering", "health", "law", "physics"],
        },
        "metrics": [
            {
                "name": "escalate_vs_keep",
                "type": "group_margin",
                "positive_group": "escalate",
                "negative_group": "keep",
            }
        ],
    },
}
