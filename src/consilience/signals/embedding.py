"""Signal `embedding`: whether the last user message means what some examples mean.

Config: `routing.signals.embeddings`. A rule's score is how like its `candidates` the text is: three
quarters the nearest, one quarter the mean of the nearest two (`aggregation_method` `max` or `any`), or
the mean over all (`mean`). It matches from `threshold` on. When no rule does and soft matching is on,
those match that reach `min_score_threshold`. Of several only the `top_k` best stay. Confidence and
value are the score.

Similar candidates become one prototype first. Of a text longer than 2 048 characters the
beginning, the middle and the end are compared. `global.model_catalog.embeddings.semantic` says which model
embeds texts; similarities are on one scale whatever the model, on which 0.4 is unrelated.

Source: vllm-sr-routing.md 2.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from .base import RequestFacts, SignalResult, SignalRule, SignalSettings
from .similarity import (
    MARGIN,
    MOST_CANDIDATES,
    NO_MARGIN,
    Aggregation,
    Bank,
    Banks,
    Candidate,
    PrototypeScoring,
)
from .vectors import Vectors, VectorSignal

_TRAINED = "the model is chosen by `model` here"


class EmbeddingRule(SignalRule):
    """One entry of `routing.signals.embeddings`."""

    threshold: Annotated[float, Field(ge=0, le=1)]
    """Least score."""
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1, max_length=MOST_CANDIDATES)]
    """Examples of what the rule looks for."""
    aggregation_method: Aggregation = "max"
    """`max` and `any` go by the nearest candidates, `mean` by all of them."""
    query_modality: Literal["text", "image", "audio"] = "text"
    """Only text is compared here."""

    def warnings(self) -> Sequence[str]:
        if self.query_modality != "text":
            what = f"`query_modality: {self.query_modality}`"
            return (f"rule {self.name!r}: {what} never matches: only text is compared",)
        return ()


class EmbeddingConfig(SignalSettings):
    """`embedding_config`: how rules match."""

    backend: str | None = None
    """A local engine's name (`candle`, `onnx`, `openvino`) keeps `endpoint` from being asked."""
    enable_soft_matching: Annotated[bool, Field(strict=True)] = True
    """Whether rules below their threshold may match when no other does."""
    min_score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.55
    """Least score of a soft match. The reference has 0.5, which here many unrelated texts reach."""
    top_k: Annotated[int, Field(strict=True, ge=0)] = 1
    """How many rules may match; 0: any number."""
    prototype_scoring: PrototypeScoring = PrototypeScoring()


class Endpoint(BaseModel):
    """`endpoint`: an OpenAI-compatible embeddings API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    """Up to and with `/v1`."""
    model: Annotated[str, Field(min_length=1)]
    """The name that is sent."""
    api_key_env: str | None = None
    """The environment variable that holds the key."""
    api_key: SecretStr | None = None
    """Sent as a bearer token; `api_key_env` keeps it out of the file."""
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """For one call, and for all that a request waits for its vectors."""
    max_retries: Annotated[int, Field(strict=True, ge=0, le=10)] = 2
    """Further tries after a connection that fails, 429 and 5xx."""
    dimensions: Annotated[int, Field(strict=True, ge=1, le=16384)] | None = None
    """Numbers of a vector, of models that can give fewer; none: theirs."""
    similarity_floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Ours: what two unrelated texts get; 0 takes similarities as they come."""

    _key: SecretStr | None = PrivateAttr(None)

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?", url):
            raise ValueError(
                "must be an address such as https://host/v1, without a user, a key, `?` or `#`"
            )
        return url

    @field_validator("api_key")
    @classmethod
    def _goes_into_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not re.fullmatch(r"[ -~\x80-\xff]*", key.get_secret_value()):
            raise ValueError("must be one line of Latin characters, as it goes into an HTTP header")
        return key

    @property
    def key(self) -> SecretStr | None:
        """The key that was found when the configuration was loaded."""
        return self._key or self.api_key


class SemanticSettings(SignalSettings):
    """`global.model_catalog.embeddings.semantic`: which model embeds texts, for every kind."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            (
                *("qwen3_model_path", "gemma_model_path", "mmbert_model_path"),
                *("multimodal_model_path", "bert_model_path"),
            ),
            _TRAINED,
        ),
        "use_cpu": "models run on the processor",
        "embedding_config.model_type": _TRAINED,
        "embedding_config.preload_embeddings": "candidates are embedded before the first request",
        "embedding_config.target_dimension": "vectors are compared whole",
        "embedding_config.target_layer": "vectors are those of the last layer",
        f"embedding_config.{MARGIN}": NO_MARGIN,
    }

    model: Annotated[str, Field(min_length=1)] | None = None
    """Ours: a name of `consilience models list`, or the folder of a sentence model in ONNX. Default:
    the best of the list that has been fetched."""
    model_floor: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Ours: the similarity that two unrelated texts are to have. Default: the model's own; 0 for a
    folder."""
    embedding_config: EmbeddingConfig = EmbeddingConfig()
    endpoint: Endpoint | None = None

    @property
    def remote(self) -> Endpoint | None:
        """The endpoint, when it is the one to ask."""
        if self.model is not None or self.embedding_config.backend in _LOCAL_ENGINES:
            return None
        return self.endpoint


_LOCAL_ENGINES = frozenset({"candle", "onnx", "openvino", "local"})


class Embedding(VectorSignal[EmbeddingRule]):
    """Likeness to examples."""

    kind: ClassVar[str] = "embedding"
    config_key: ClassVar[str] = "embeddings"
    Rule: ClassVar[type[SignalRule]] = EmbeddingRule
    Settings: ClassVar[type[BaseModel] | None] = SemanticSettings
    settings_key: ClassVar[str] = "model_catalog.embeddings.semantic"

    def __init__(self, rules: Sequence[EmbeddingRule], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        own = settings if isinstance(settings, SemanticSettings) else SemanticSettings()
        self._config = own.embedding_config
        self._banks = Banks(())

    def prototypes(self, identity: str) -> Sequence[str]:
        return [text for rule in self.rules for text in rule.candidates]

    def learn(self, vectors: Vectors, identity: str) -> None:
        scoring = self._config.prototype_scoring
        self._banks = Banks(
            [Bank(r.candidates, vectors, scoring, r.aggregation_method) for r in self.rules]
        )

    def judge(self, facts: RequestFacts, vectors: Vectors) -> Mapping[str, SignalResult]:
        if not facts.sample:
            return {rule.name: _NOTHING for rule in self.rules}
        scores = self._banks.scores(vectors[facts.sample])
        each = list(zip(self.rules, scores, strict=True))
        matched = {rule.name for rule, score in each if self._fits(rule, score, rule.threshold)}
        soft = not matched and self._config.enable_soft_matching
        if soft:
            least = self._config.min_score_threshold
            matched = {rule.name for rule, score in each if self._fits(rule, score, least)}
        detail = {"soft": True} if soft else {}
        return {
            rule.name: SignalResult(
                rule.name in matched,
                min(1.0, max(0.0, score)),
                value=score,
                detail=detail if rule.name in matched else {},
            )
            for rule, score in each
        }

    def narrow(self, results: Mapping[str, SignalResult]) -> Mapping[str, SignalResult]:
        """Keeps the `top_k` best of the rules that match."""
        most = self._config.top_k
        matched = [name for name, result in results.items() if result.matched]
        if not most or len(matched) <= most:
            return results
        best = set(sorted(matched, key=lambda name: -(results[name].value or 0.0))[:most])
        return {
            name: result
            if name in best or not result.matched
            else SignalResult(False, result.confidence, result.value, result.error)
            for name, result in results.items()
        }

    @staticmethod
    def _fits(rule: EmbeddingRule, score: float, least: float) -> bool:
        return rule.query_modality == "text" and score >= least


_NOTHING = SignalResult(False, value=0.0)
