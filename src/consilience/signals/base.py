"""The face of a signal: one kind of evidence about a request.

A signal extracts facts; decisions combine them. Each kind is one file with its own rule model
(what the config may say), its logic and its docstring, and one line in `SIGNALS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from ..chat.request import ChatRequest
from ..rules.grammar import Combination, Condition
from .estimate import estimate_tokens
from .excerpt import excerpt, sampled
from .lexical import Terms, terms_of


class SignalRule(BaseModel):
    """Base of every kind's rule: one named entry of that kind in the config. Frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Unique within its kind; what decisions refer to."""
    description: str = ""
    """For people."""

    ignored_keys: ClassVar[Mapping[str, str]] = {}
    """Keys that the reference knows and we do not act on, each with what is lost by it."""

    def emits(self) -> Sequence[str]:
        """The names under which results of this rule appear; decisions may name exactly these."""
        return (self.name,)

    def warnings(self) -> Sequence[str]:
        """What of this rule is accepted but not acted on, one sentence each, for people."""
        return ()

    @property
    def doubtful(self) -> tuple[str | int, ...]:
        """Where in the rule that stands of which `warnings` speak; empty: in no one place."""
        return ()


def composer_of(rule: SignalRule) -> Condition | Combination | None:
    """Gives the tree that must match for the rule's results to count: its field `composer`.

    Most kinds have no such field. One that has declares it as `composer: Composer | None = None`.
    """
    composer: Condition | Combination | None = getattr(rule, "composer", None)
    return composer


class SignalSettings(BaseModel):
    """Base of a kind's settings: what under `global` concerns all of its rules. Frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ignored_keys: ClassVar[Mapping[str, str]] = {}
    """As `SignalRule.ignored_keys`."""


class SignalKey(NamedTuple):
    """What a result is filed under."""

    kind: str
    name: str


class SignalResult(NamedTuple):
    """What one rule found in one request. A tuple, since a request makes dozens of them."""

    matched: bool
    confidence: float = 1.0
    """0 to 1; means something only when matched."""
    value: float | None = None
    """The raw figure behind it (tokens, a count, a similarity), for predicates."""
    error: str | None = None
    """Why the rule could not be evaluated. Such a rule does not match, under NOT neither."""
    detail: Mapping[str, object] = MappingProxyType({})
    """What made it match, for people: JSON values, no prompt text beyond the configured words."""


EXCERPT_CHARACTERS = 32 * 1024
"""How much of a text the kinds read that do more than search it once."""


class RequestFacts:
    """What signals may look at. Each fact is computed at most once, when first asked for."""

    def __init__(
        self,
        request: ChatRequest,
        headers: Mapping[str, str] | None = None,
        *,
        dry_run: bool = False,
    ) -> None:
        self.request = request
        self.dry_run = dry_run
        """Whether nothing follows from what is found, so that no helper model is asked."""
        self.headers: Mapping[str, str] = headers or {}
        """Request headers, names in lower case."""

    @cached_property
    def text(self) -> str:
        """The last user message's text; the other messages' text when there is no user message."""
        return self.request.user_text

    @cached_property
    def text_utf8(self) -> bytes:
        """`text` as UTF-8, the form that patterns are matched against."""
        return self.text.encode("utf-8", "replace")

    @cached_property
    def excerpt(self) -> str:
        """`text`, or its beginning and end when it is longer than `EXCERPT_CHARACTERS`."""
        return excerpt(self.text, EXCERPT_CHARACTERS)

    @cached_property
    def excerpt_utf8(self) -> bytes:
        """`excerpt` as UTF-8."""
        if self.excerpt is self.text:
            return self.text_utf8
        return self.excerpt.encode("utf-8", "replace")

    @cached_property
    def sample(self) -> str:
        """What of `text` is compared by meaning: its beginning, middle and end; may be empty."""
        return sampled(self.text)

    @cached_property
    def terms(self) -> Terms:
        """The words and word pairs of `sample`."""
        return terms_of(self.sample)

    @cached_property
    def tokens(self) -> int:
        """About how many tokens the request needs; see `estimate_tokens`."""
        return estimate_tokens(self.request)

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """The body's `metadata`; empty when there is none. Set by the client: it proves nothing."""
        metadata: Mapping[str, str] = self.request.body.get("metadata") or {}
        return metadata


RuleT = TypeVar("RuleT", bound=SignalRule)


class Signal(ABC, Generic[RuleT]):
    """All rules of one kind, compiled once at load; holds no state of a single request."""

    kind: ClassVar[str]
    """`type:` of a rule-tree leaf."""
    config_key: ClassVar[str]
    """The list under `routing.signals`."""
    Rule: ClassVar[type[SignalRule]]
    Settings: ClassVar[type[BaseModel] | None] = None
    """What all rules of the kind share, when there is such a thing."""
    settings_key: ClassVar[str] = ""
    """Where `Settings` stands under `global`: keys joined by dots."""

    def __init__(self, rules: Sequence[RuleT], settings: BaseModel | None = None) -> None:
        """Compiles the rules.

        Args:
            rules: at least one.
            settings: an instance of `Settings`; None for its defaults.

        Raises:
            ValueError: a rule that cannot work, in words for the person who wrote it.
        """
        self.rules = tuple(rules)
        self.settings = settings

    @classmethod
    def standing_names(cls, settings: BaseModel | None) -> Sequence[str]:  # noqa: ARG003
        """The names of results that come from the settings alone, without any rule."""
        return ()

    def emits(self) -> Sequence[str]:
        """The names of all results that the rules and the settings give."""
        names = [name for rule in self.rules for name in rule.emits()]
        return tuple(dict.fromkeys((*names, *self.standing_names(self.settings))))

    def narrow(self, results: Mapping[str, SignalResult]) -> Mapping[str, SignalResult]:
        """Gives the kind's results again, some of them perhaps no longer matched.

        Called once a request, after partitions and composers and before projections are computed.

        Args:
            results: those that are asked for, by name.
        """
        return results


class PureSignal(Signal[RuleT]):
    """A kind that needs nothing but the facts and a few microseconds: no IO, no model.

    Such kinds are evaluated where they stand, without a task, which is most of what makes
    routing by rules cheap.
    """

    @abstractmethod
    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        """Gives one result for every name that its rules emit."""


class WaitingSignal(Signal[RuleT]):
    """A kind that waits for something of its own."""

    @abstractmethod
    async def evaluate(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        """Gives one result for every name that its rules emit."""
