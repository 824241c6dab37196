"""A configuration with two routes, one of them to a panel, for tests that explain routes."""

from __future__ import annotations

from consilience.config.routing import Decision
from consilience.decisions.evaluation import compile_rules
from consilience.errors import NoMatchingDecisionError
from consilience.explain import Explanation
from consilience.router import Consideration
from consilience.router.table import Competitor
from consilience.rules.grammar import Condition
from consilience.signals.base import SignalKey, SignalResult

from .fusion_parts import asking

ROUTING = """\
version: v0.3
listeners: [{{name: http, port: 0{listener}}}]
providers:
  defaults: {{default_model: cheap}}
  models:
    - name: cheap
      pricing: {{prompt_per_1m: 1, completion_per_1m: 2}}
      backend_refs: [{{endpoint: "127.0.0.1:9"}}]
    - name: strong
      pricing: {{prompt_per_1m: 10, completion_per_1m: 20}}
      backend_refs: [{{endpoint: "127.0.0.1:9"}}]
    - name: unpriced
      backend_refs: [{{endpoint: "127.0.0.1:9"}}]
routing:
  signals:
    keywords:
      - {{name: weigh, keywords: [compare]}}
      - {{name: secret, keywords: [internal only]}}
    context:
      - {{name: long, min_tokens: "8K"}}
  decisions:
    - name: deep
      priority: 100
      rules:
        operator: AND
        conditions:
          - operator: OR
            conditions: [{{type: keyword, name: weigh}}, {{type: context, name: long}}]
          - {{operator: NOT, conditions: [{{type: keyword, name: secret}}]}}
      algorithm: {{type: fusion, fusion: {{model: strong, analysis_models: [{panel}]}}}}
    - name: kept
      priority: 200
      rules: {{type: keyword, name: secret}}
      modelRefs: [{{model: unpriced}}]
    - name: quick
      priority: 10
      rules: {{type: keyword, name: weigh}}
      modelRefs: [{{model: cheap}}]
{more}"""


def routing_yaml(*, panel: str = "cheap, cheap, strong", listener: str = "", more: str = "") -> str:
    """Gives the file's text.

    Args:
        panel: models of decision `deep`.
        listener: more keys of the listener, in flow style with a comma in front.
        more: further decisions (indented by four) or sections.
    """
    return ROUTING.format(panel=panel, listener=listener, more=more)


PROJECTED = """\
version: v0.3
providers:
  defaults: {default_model: cheap}
  models:
    - {name: cheap, backend_refs: [{endpoint: "127.0.0.1:9"}]}
    - {name: strong, backend_refs: [{endpoint: "127.0.0.1:9"}]}
routing:
  signals:
    keywords:
      - {name: weigh, keywords: [compare]}
      - {name: chat, keywords: [hello]}
      - {name: idle, keywords: [never]}
    context:
      - {name: long, min_tokens: 8K}
    role_bindings:
      - {name: staff, role: staff, subjects: [{kind: Group, name: staff}]}
  projections:
    scores:
      - name: effort
        method: weighted_sum
        inputs:
          - {type: keyword, name: weigh, weight: 0.5}
          - {type: keyword, name: chat, weight: -0.25, value_source: confidence}
          - {type: score, name: size, weight: 0.001}
          - {type: authz, name: staff, weight: 2}
      - name: size
        method: weighted_sum
        inputs: [{type: context, name: long, weight: 1, value_source: raw}]
      - {name: idle, method: weighted_sum, inputs: [{type: keyword, name: idle, weight: 1}]}
    mappings:
      - name: band
        source: effort
        method: threshold_bands
        outputs: [{name: easy, lt: 0.4}, {name: hard, gte: 0.4}]
      - {name: idle_band, source: idle, method: multi_emit, outputs: [{name: idle_output}]}
  decisions:
    - name: deep
      rules: {type: projection, name: hard}
      modelRefs: [{model: strong}]
"""
"""A file whose one decision rests on a projection, one of whose inputs fails."""


def failing_signal() -> Explanation:
    """What is said of a request whose only decision asks for a signal that broke."""
    signals = {SignalKey("keyword", "a"): SignalResult(False, error="broken")}
    decision = Decision(name="only", rules=Condition(type="keyword", name="a"))
    rules = compile_rules(decision.rules)
    considered = Consideration(
        "default", [Competitor(decision, rules)], [rules.verdict(signals)], signals, None
    )
    return Explanation(asking(), considered, None, NoMatchingDecisionError("nothing matched"), ())
