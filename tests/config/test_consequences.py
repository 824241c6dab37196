"""One wrong value is told of once: what follows from it is no problem of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from consilience.config import build_config
from consilience.config.paths import dotted
from consilience.errors import ConfigError

DOCUMENT = """
providers:
  defaults: {default_model: a, reasoning_families: {fam: {type: reasoning_effort, parameter: effort}}}
  models:
    - {name: a, reasoning_family: fam, backend_refs: [{endpoint: "127.0.0.1:1"}]}
    - {name: b, backend_refs: [{base_url: "https://llm.example.org/v1"}]}
routing:
  modelCards: [{name: a, loras: [{name: law}]}]
  signals:
    keywords: [{name: kw, operator: OR, keywords: [x]}]
    classifiers:
      - {name: tone, type: local, labels: [kind, rude], prototypes: {kind: [please], rude: [now]}}
    complexity: [{name: depth, hard: {candidates: [prove]}, easy: {candidates: [say]}}]
    context: [{name: long, min_tokens: 1K, max_tokens: 2K}]
    structure:
      - {name: asks, feature: {type: count, source: {type: regex, pattern: "[?]"}}, predicate: {gte: 2}}
    kb: [{name: refunds, kb: shop, target: {kind: group, value: money}}]
    role_bindings: [{name: staff, role: admin, subjects: [{kind: Group, name: staff}]}]
  projections:
    scores:
      - name: s
        method: weighted_sum
        inputs:
          - {type: keyword, name: kw, weight: 1}
          - {type: kb_metric, kb: shop, metric: margin, weight: 2}
    mappings:
      - {name: m, source: s, method: multi_emit, outputs: [{name: low, lt: 1}, {name: also, lt: 2}]}
  decisions:
    - name: d
      priority: 3
      modelRefs: [{model: a, lora_name: law, use_reasoning: true}]
      rules:
        operator: AND
        conditions:
          - {operator: NOT, conditions: [{type: classifier, name: tone, label: rude}]}
          - {type: projection, name: low}
          - {type: complexity, name: "depth:hard"}
          - {type: authz, name: admin}
    - name: e
      priority: 2
      rules: {type: keyword, name: kw}
      algorithm:
        type: fusion
        fusion:
          model: a
          analysis_models: [a, {model: b, temperature: 1}]
          analysis_overrides: [{model: a, temperature: 0.5}]
          min_successful_responses: 2
recipes:
  - {name: r, routing: {decisions: [{name: f, modelRefs: [{model: b}]}]}}
entrypoints:
  - {model_names: [front], recipe: r}
global:
  model_catalog:
    kbs:
      - name: shop
        labels: {refund: [money back], parcel: [where is it]}
        groups: {money: [refund], other: [parcel]}
        metrics: [{name: margin, positive_group: money, negative_group: other}]
"""


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    steps = (
        value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    )
    for step in steps:
        yield (*path, step)
        yield from places(value[step], (*path, step))


def load() -> Any:
    return YAML(typ="safe").load(DOCUMENT)


def test_document_itself_has_no_problem() -> None:
    assert build_config(load(), environ={}, base_dir=Path()).warnings == ()


@pytest.mark.parametrize("wrong", [[[5]], 5.5, "no such thing"], ids=["list", "number", "text"])
def test_nothing_else_is_told_when_one_value_is_of_the_wrong_shape(wrong: Any) -> None:
    false = []
    for path in places(load()):
        document = load()
        block = document
        for step in path[:-1]:
            block = block[step]
        if isinstance(wrong, str) and isinstance(block[path[-1]], str):
            continue
        block[path[-1]] = copy.deepcopy(wrong)
        here = dotted(path)
        try:
            build_config(document, environ={}, base_dir=Path())
        except ConfigError as error:
            told = (*error.problems, *error.warnings)
            false += [
                (here, problem.path, problem.message)
                for problem in told
                if not problem.path.startswith(here) and not here.startswith(problem.path)
            ]

    assert false == []
