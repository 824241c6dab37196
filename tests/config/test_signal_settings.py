"""What rules of a kind share stands under `global`, and reaches them."""

from __future__ import annotations

from typing import Any

import pytest

from consilience.chat.request import ChatRequest
from consilience.config import build_config
from consilience.errors import ConfigError
from consilience.router import Router
from consilience.signals.authz import AuthzSettings
from consilience.signals.complexity import ComplexitySettings
from consilience.signals.domain import DomainSettings
from consilience.signals.embedding import SemanticSettings
from consilience.signals.fact_check import FactCheckSettings
from consilience.signals.jailbreak import PromptGuardSettings
from consilience.signals.kb import KnowledgeBases
from consilience.signals.modality import ModalitySettings
from consilience.signals.pii import PiiSettings
from consilience.signals.preference import PreferenceSettings
from consilience.signals.user_feedback import FeedbackSettings

from .builders import data

pytestmark = pytest.mark.anyio

ADMINS = {"name": "admins", "role": "admin", "subjects": [{"kind": "User", "name": "ann"}]}
ROUTING = {
    "signals": {"role_bindings": [ADMINS]},
    "decisions": [
        {
            "name": "staff",
            "rules": {"type": "authz", "name": "admin"},
            "modelRefs": [{"model": "small"}],
        }
    ],
}


def services(**authz: Any) -> dict[str, Any]:
    return {"global": {"services": {"authz": authz}}}


def test_settings_have_their_defaults_when_nothing_is_said() -> None:
    settings = build_config(data(), environ={}).global_.signal_settings
    assert settings == {
        "authz": AuthzSettings(),
        "modality": ModalitySettings(),
        "embedding": SemanticSettings(),
        "complexity": ComplexitySettings(),
        "preference": PreferenceSettings(),
        "kb": KnowledgeBases(),
        "jailbreak": PromptGuardSettings(),
        "domain": DomainSettings(),
        "fact_check": FactCheckSettings(),
        "user_feedback": FeedbackSettings(),
        "pii": PiiSettings(),
    }


async def test_settings_reach_the_rules_when_they_are_given() -> None:
    sections = services(identity={"user_id_header": "x-user"})
    router = Router(build_config(data(routing=ROUTING, **sections), environ={}))
    request = ChatRequest({"model": "auto", "messages": [{"role": "user", "content": "hi"}]})

    considered = await router.consider(request, {"x-user": "ann"})

    assert considered is not None
    assert considered.winner is not None
    assert considered.winner.decision.name == "staff"


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        (services(fail_opn=True), "global.services.authz.fail_opn"),
        (services(fail_open="yes"), "global.services.authz.fail_open"),
        ({"global": {"services": {"authzz": {}}}}, "global.services.authzz"),
        (
            {"global": {"model_catalog": {"modules": {"modality_detector": {"method": "x"}}}}},
            "global.model_catalog.modules.modality_detector.method",
        ),
        (
            {"global": {"model_catalog": {"modules": {"classifier": {"pii": {"threshold": 2}}}}}},
            "global.model_catalog.modules.classifier.pii.threshold",
        ),
    ],
)
def test_mistake_in_settings_has_its_place(sections: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(data(**sections), environ={})
    assert [problem.path for problem in caught.value.problems] == [path]
