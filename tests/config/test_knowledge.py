"""Knowledge bases: labels from files, found beside the configuration or above it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consilience.config import Config, build_config, knowledge
from consilience.errors import ConfigError, Problem
from consilience.signals.kb import KnowledgeBases

from .builders import data

LABELS = {"refund": {"exemplars": ["money back"]}, "parcel": {"exemplars": ["where is it"]}}
BASE = {"name": "shop", "source": {"path": "kb/shop"}}
RULE = {"name": "r", "kb": "shop", "target": {"kind": "label", "value": "refund"}}


def written(folder: Path, content: Any = None, name: str = "labels.json") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"labels": LABELS} if content is None else content
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def built(folder: Path, *bases: Any, rules: Any = (RULE,)) -> Config:
    sections: dict[str, Any] = {
        "global": {"model_catalog": {"kbs": list(bases)}},
        "routing": {"signals": {"kb": list(rules)}},
    }
    return build_config(data(**sections), environ={}, base_dir=folder)


def problems(folder: Path, *bases: Any, rules: Any = (RULE,)) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        built(folder, *bases, rules=rules)
    return caught.value.problems


def labels(config: Config) -> dict[str, tuple[str, ...]]:
    kbs = config.global_.signal_settings["kb"]
    assert isinstance(kbs, KnowledgeBases)
    return {name: label.exemplars for base in kbs.root for name, label in base.labels.items()}


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_labels_are_found_beside_the_configuration_or_above_it(tmp_path: Path, depth: int) -> None:
    written(tmp_path / "kb" / "shop")
    folder = tmp_path.joinpath(*["deeper"] * depth)
    folder.mkdir(exist_ok=True, parents=True)
    assert labels(built(folder, BASE)) == {"refund": ("money back",), "parcel": ("where is it",)}


def test_labels_are_not_looked_for_everywhere_above(tmp_path: Path) -> None:
    written(tmp_path / "kb" / "shop")
    folder = tmp_path.joinpath(*["deeper"] * 4)
    folder.mkdir(parents=True)
    (problem,) = problems(folder, BASE)
    assert problem.path == "global.model_catalog.kbs[0].source.path"
    assert problem.message == (
        'the knowledge base "shop" is not there: no kb/shop/labels.json here or above'
    )


def test_nearest_folder_is_the_one(tmp_path: Path) -> None:
    written(tmp_path / "kb" / "shop", {"labels": {"refund": ["far"]}})
    written(tmp_path / "here" / "kb" / "shop", {"labels": {"refund": ["near"]}})
    assert labels(built(tmp_path / "here", BASE)) == {"refund": ("near",)}


def test_manifest_may_have_another_name(tmp_path: Path) -> None:
    written(tmp_path / "kb" / "shop", name="other.json")
    base = {"name": "shop", "source": {"path": "kb/shop/", "manifest": "other.json"}}
    assert set(labels(built(tmp_path, base))) == {"refund", "parcel"}


def test_labels_of_the_configuration_are_added_and_go_before_those_of_the_file(
    tmp_path: Path,
) -> None:
    written(tmp_path / "kb" / "shop")
    config = built(tmp_path, {**BASE, "labels": {"refund": ["my money"], "other": ["else"]}})
    assert labels(config) == {
        "refund": ("my money",),
        "parcel": ("where is it",),
        "other": ("else",),
    }


def test_labels_may_stand_in_the_configuration_alone(tmp_path: Path) -> None:
    assert labels(built(tmp_path, {"name": "shop", "labels": {"refund": ["x"]}}))


def test_missing_file_is_a_warning_when_no_rule_asks(tmp_path: Path) -> None:
    config = built(tmp_path, BASE, rules=())
    (warning,) = config.warnings
    assert warning.message.startswith('the knowledge base "shop" is not there')


def test_base_of_the_reference_is_known_by_name(tmp_path: Path) -> None:
    rule = {"name": "r", "kb": "privacy_kb", "target": {"kind": "group", "value": "private"}}
    (problem,) = problems(tmp_path, rules=[rule])
    assert problem.path == "routing.signals.kb[0].kb"
    assert "no knowledge_bases/privacy/labels.json here or above" in problem.message
    written(tmp_path / "knowledge_bases" / "privacy", {"labels": {"pii": ["my address"]}})
    assert labels(built(tmp_path, rules=[rule])) == {"pii": ("my address",)}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"label": {}}',
        '{"labels": []}',
        '{"labels": "x"}',
        "\udcff",
        "[" * 9999,
    ],
)
def test_file_that_is_no_manifest_is_told_of(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "kb" / "shop"
    folder.mkdir(parents=True)
    (folder / "labels.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    (problem, *_) = problems(tmp_path, BASE)
    assert problem.path == "global.model_catalog.kbs[0].source.path"
    assert "kb/shop/labels.json" in problem.message
    assert str(tmp_path) not in problem.message


def test_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowledge, "_LARGEST", 10)
    written(tmp_path / "kb" / "shop")
    (problem, *_) = problems(tmp_path, BASE)
    assert "has more than" in problem.message


def test_mistake_in_the_file_has_the_place_of_its_base(tmp_path: Path) -> None:
    written(tmp_path / "kb" / "shop", {"labels": {"refund": {"exemplrs": ["x"]}}})
    found = problems(tmp_path, BASE)
    (problem,) = found
    assert problem.path == "global.model_catalog.kbs[0].labels.refund.exemplrs"
    assert problem.message == "unknown key `exemplrs`; known here: description, exemplars"
    assert problem.suggestion == "did you mean `exemplars`?"


@pytest.mark.parametrize(
    "base",
    [
        *(None, "shop", 7, [], {}, {"name": None}, {"name": ["shop"]}, {"name": {"a": 1}}),
        *({"source": {"path": "kb"}}, {"name": ["x"], "source": {"path": "kb"}}),
        {**BASE, "labels": ["refund"]},
        {**BASE, "labels": "refund"},
        {**BASE, "source": "kb/shop"},
        {**BASE, "source": {"path": 7}},
        {**BASE, "source": {"path": "x" * 5000}},
        {**BASE, "source": {"path": "nul\0"}},
        {**BASE, "source": {"path": "kb/shop/labels.json"}},
        {**BASE, "groups": ["refund"]},
    ],
)
def test_any_malformed_base_is_a_problem(tmp_path: Path, base: Any) -> None:
    written(tmp_path / "kb" / "shop")
    assert problems(tmp_path, base)


@pytest.mark.parametrize("section", [None, [], "x", 7, {"model_catalog": []}])
def test_any_malformed_section_leaves_the_rule_without_its_base(
    tmp_path: Path, section: Any
) -> None:
    with pytest.raises(ConfigError):
        build_config(
            data(routing={"signals": {"kb": [RULE]}}, **{"global": section}),
            environ={},
            base_dir=tmp_path,
        )


def test_two_bases_of_one_name_are_refused(tmp_path: Path) -> None:
    base = {"name": "shop", "labels": {"refund": ["x"]}}
    (problem,) = problems(tmp_path, base, base)
    assert problem.message == 'the knowledge base "shop" is declared twice'


@pytest.mark.parametrize(
    ("key", "value"), [("groups", {"g": ["refnd"]}), ("label_thresholds", {"refnd": 0.5})]
)
def test_label_that_is_not_there_is_named(tmp_path: Path, key: str, value: Any) -> None:
    config = built(tmp_path, {"name": "shop", "labels": {"refund": ["x"]}, key: value})
    (warning,) = config.warnings
    assert warning.path == f"global.model_catalog.kbs[0].{key}"
    assert warning.message == 'the knowledge base "shop" has no label "refnd"'
    assert warning.suggestion == 'did you mean "refund"?'


def test_rule_of_a_base_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path)
    assert "no knowledge base 'shop'" in problem.message
