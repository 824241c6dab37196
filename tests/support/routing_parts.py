"""A configuration with two routes, one of them to a panel, for tests that explain routes."""

from __future__ import annotations

from consilience.decisions.trace import evaluate
from consilience.errors import NoMatchingDecisionError
from consilience.explain import Explanation
from consilience.router import Consideration, DecisionTrace
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


def failing_signal() -> Explanation:
    """What is said of a request whose only decision asks for a signal that broke."""
    signals = {SignalKey("keyword", "a"): SignalResult(False, error="broken")}
    trace = evaluate(Condition(type="keyword", name="a"), signals)
    decision = DecisionTrace("only", trace.matched, trace.confidence, trace)
    considered = Consideration("default", [decision], signals, None)
    return Explanation(asking(), considered, None, NoMatchingDecisionError("nothing matched"), ())
