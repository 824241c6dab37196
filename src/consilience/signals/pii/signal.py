"""Signal `pii`: personal data in the last user message, or in all messages.

Config: `routing.signals.pii`. A rule matches when a datum is found whose type `pii_types_allowed`
does not name and whose score is at least `threshold`. Confidence is the best such score; the detail
counts what was found by type and never repeats it.

Rules find it, not a trained model: forms with check digits (cards, IBANs, identity numbers of 47
kinds), forms that nothing else has (e-mail addresses, keys), and labels (`DOB:`, `姓名：`). A score
is 0.9 or more when form, check digits or a label leave little doubt, and less than 0.85 for what
could be something else: a name after a title, an address of documentation, a private IP address.
Names are found where something says that they are names. A name in running prose is missed.

Of a text longer than `MOST_CHARACTERS` the first three quarters of that and the last quarter are
read; with `include_history` that is the measure of all messages together, the newest first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from ...chat.request import text_of
from ..base import PureSignal, RequestFacts, SignalResult, SignalRule, SignalSettings
from ..excerpt import excerpt
from .find import MOST_CHARACTERS, find_pii, load
from .finding import Finding
from .labels import label_of

THRESHOLD = 0.9


def _known(name: str) -> str:
    label_of(name)
    return name


_Type = Annotated[str, AfterValidator(_known)]


class PiiRule(SignalRule):
    """One entry of `routing.signals.pii`."""

    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least score; None for the module's."""
    pii_types_allowed: Annotated[tuple[_Type, ...], Field(max_length=200)] = ()
    """Types that do not count: names of `labels.py`, letter case aside."""
    include_history: bool = False
    """Whether every message is read, of whatever role, or the last user message alone."""

    @property
    def allowed(self) -> frozenset[str]:
        """The types that do not count, by our own names."""
        labels = (label_of(name) for name in self.pii_types_allowed)
        return frozenset(label for label in labels if label is not None)

    @property
    def doubtful(self) -> tuple[str | int, ...]:
        never = (i for i, name in enumerate(self.pii_types_allowed) if label_of(name) is None)
        return ("pii_types_allowed", *islice(never, 1))

    def warnings(self) -> Sequence[str]:
        never = [repr(name) for name in self.pii_types_allowed if label_of(name) is None]
        if not never:
            return ()
        return (f"rule {self.name!r}: allowing {', '.join(never)} adds nothing, it is never found",)


class PiiSettings(SignalSettings):
    """`global.model_catalog.modules.classifier.pii`."""

    ignored_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        (
            "model_ref",
            "model_id",
            "use_cpu",
            "use_mmbert_32k",
            "use_modernbert",
            "pii_mapping_path",
        ),
        "personal data is found by rules",
    )

    enabled: Annotated[bool, Field(strict=True)] = True
    """Whether any rule can match."""
    threshold: Annotated[float, Field(ge=0, le=1)] = THRESHOLD
    """Least score for rules without one of their own."""


class Pii(PureSignal[PiiRule]):
    """Personal data."""

    kind: ClassVar[str] = "pii"
    config_key: ClassVar[str] = "pii"
    Rule: ClassVar[type[SignalRule]] = PiiRule
    Settings: ClassVar[type[SignalSettings] | None] = PiiSettings
    settings_key: ClassVar[str] = "model_catalog.modules.classifier.pii"

    def __init__(self, rules: Sequence[PiiRule], settings: SignalSettings | None = None) -> None:
        super().__init__(rules, settings)
        own = settings if isinstance(settings, PiiSettings) else PiiSettings()
        self._enabled = own.enabled
        self._terms = tuple(
            (rule, own.threshold if rule.threshold is None else rule.threshold, rule.allowed)
            for rule in self.rules
        )
        load()

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        if not self._enabled:
            return dict.fromkeys((rule.name for rule in self.rules), _NO_MATCH)
        read: dict[bool, Sequence[Finding]] = {}
        results = {}
        for rule, threshold, allowed in self._terms:
            if rule.include_history not in read:
                text = _conversation(facts) if rule.include_history else facts.text
                read[rule.include_history] = find_pii(text)
            results[rule.name] = _result(read[rule.include_history], threshold, allowed)
        return results


def _conversation(facts: RequestFacts) -> str:
    """The text of all messages, the newest first, up to `MOST_CHARACTERS`."""
    parts: list[str] = []
    left = MOST_CHARACTERS
    for message in reversed(facts.request.messages):
        if left <= 0:
            break
        part = excerpt(text_of(message), left)
        parts.append(part)
        left -= len(part) + len(_BETWEEN)
    return _BETWEEN.join(parts)


def _result(findings: Sequence[Finding], threshold: float, allowed: frozenset[str]) -> SignalResult:
    counted = [
        finding
        for finding in findings
        if finding.score >= threshold
        and finding.type not in allowed
        and finding.specific not in allowed
    ]
    if not counted:
        return _NO_MATCH
    best = max(finding.score for finding in counted)
    types = Counter(finding.specific or finding.type for finding in counted)
    return SignalResult(True, best, float(len(counted)), detail={"types": dict(types)})


_BETWEEN = "\n\n"
_NO_MATCH = SignalResult(False, value=0.0)
