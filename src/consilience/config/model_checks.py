"""Whether the models that signals need are there: on this machine, or in the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path as FilePath

from ..decisions.needs import Needs
from ..rules.grammar import conditions_of
from ..signals import SIGNALS
from ..signals.asking import PREFERENCE_ROLE
from ..signals.base import SignalKey
from ..signals.classifier import Classifier, ClassifierRule
from ..signals.evaluation import SignalSet
from ..signals.preference import Preference, PreferenceSettings
from ..signals.vectors import VectorSignal
from ..upstream.embedding.base import EmbeddingError
from ..upstream.embedding.catalog import (
    EMBEDDING_MODELS,
    default_embedding_model,
    embedding_model,
)
from ..upstream.embedding.sentence import SentenceFiles
from .checks import is_ourselves
from .duplicates import duplicates
from .paths import Finding, Path
from .root import Config
from .routing import KINDS, RecipeRouting
from .validation import near

SEMANTIC: Path = ("global", "model_catalog", "embeddings", "semantic")
EXTERNAL: Path = ("global", "model_catalog", "external")
_COMPARING = tuple(signal for signal in SIGNALS if issubclass(signal, VectorSignal))


def check_models(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Gives what signals lack: the model that embeds texts, and helpers that are asked by name.

    Args:
        config: checked otherwise.
        environ: says where fetched models lie.
    """
    needing = [
        place
        for profile, path in _profiles(config)
        for place in _first_that_compares(config, profile, path)
    ]
    if needing:
        yield from _check_embedding_model(config, needing[0], environ)
    yield from _check_external(config)
    for profile, path in _profiles(config):
        yield from _check_helpers(config, profile, path)
    settings = config.global_.signal_settings[Preference.kind]
    asks = isinstance(settings, PreferenceSettings) and not settings.use_contrastive
    used = any(profile.signals.rules_of(Preference.kind) for profile, _ in _profiles(config))
    if asks and used and all(h.model_role != PREFERENCE_ROLE for h in config.global_.helpers):
        yield Finding(
            ("global", *Preference.settings_key.split("."), "use_contrastive"),
            "no helper chooses preferences: none in global.model_catalog.external has"
            f" `model_role: {PREFERENCE_ROLE}`",
            "add one, or set `use_contrastive: true`",
            looked_in=(EXTERNAL,),
        )


def _check_external(config: Config) -> Iterator[Finding]:
    """Checks that helpers have names of their own, and are not this gateway."""
    helpers = config.global_.helpers
    names = (((*EXTERNAL, i, "name"), helper.name) for i, helper in enumerate(helpers))
    yield from duplicates(names, "the helper")
    for i, helper in enumerate(helpers):
        if is_ourselves(config, helper.llm_endpoint.url):
            yield Finding(
                (*EXTERNAL, i, "llm_endpoint"),
                f'the helper "{helper.name}" is this gateway itself: it would ask itself for ever',
                "a classifier's `model` may name a model of `providers.models`",
                looked_in=((*EXTERNAL, i, "llm_endpoint"), ("listeners",)),
            )


def _profiles(config: Config) -> Iterator[tuple[RecipeRouting, Path]]:
    yield config.routing, ("routing",)
    for i, recipe in enumerate(config.recipes):
        yield recipe.routing, ("recipes", i, "routing")


def _first_that_compares(config: Config, profile: RecipeRouting, path: Path) -> Iterator[Path]:
    """Where the first kind is declared that compares meanings for some decision; nothing if none."""
    rules = {kind: profile.signals.rules_of(kind) for kind in KINDS}
    asked = (
        SignalKey(condition.type, condition.result)
        for decision in profile.decisions
        for condition in conditions_of(decision.rules)
    )
    needed = Needs(profile.projections, rules, asked).signals
    try:
        compiled = SignalSet.build(
            rules, needed, settings=config.global_.signal_settings, kinds=_COMPARING
        )
    except ValueError:
        return  # a rule that cannot work is told of by itself
    for signal in compiled.signals:
        if isinstance(signal, VectorSignal) and signal.compares:
            yield (*path, "signals", signal.config_key)
            return


def _check_embedding_model(
    config: Config, place: Path, environ: Mapping[str, str]
) -> Iterator[Finding]:
    settings = config.global_.semantic
    if settings.remote is not None:
        return
    name = settings.model or default_embedding_model(environ).name
    where = (*SEMANTIC, "model") if settings.model else place
    known = embedding_model(name)
    if known is None:
        yield from _check_folder(name, where)
    elif not known.is_pulled(environ):
        yield Finding(
            where,
            f'signals here compare meanings, and their embedding model "{name}" is not on this'
            f" machine ({known.download_bytes >> 20} MiB)",
            f"consilience models pull {name}",
        )
    if (known is None or known.engine == "onnx") and find_spec("onnxruntime") is None:
        yield Finding(
            where,
            f'the embedding model "{name}" needs onnxruntime, which is not installed',
            "pip install 'consilience[onnx]'",
        )


def _check_folder(name: str, where: Path) -> Iterator[Finding]:
    folder = FilePath(name).expanduser()
    if not folder.is_dir():
        names = [model.name for model in EMBEDDING_MODELS]
        close = get_close_matches(name, names, n=1, cutoff=0.4)
        yield Finding(
            where,
            f'there is no embedding model "{name}", and no folder of that name',
            f'did you mean "{close[0]}"?' if close else f"there is: {', '.join(names)}",
        )
        return
    try:
        SentenceFiles.of_folder(folder)
    except EmbeddingError as exc:
        yield Finding(where, str(exc), "a sentence model has model.onnx and tokenizer.json")


def _check_helpers(config: Config, profile: RecipeRouting, path: Path) -> Iterator[Finding]:
    """Checks that classifiers ask models that there are."""
    helpers = [helper.name for helper in config.global_.helpers]
    for i, rule in enumerate(profile.signals.rules_of(Classifier.kind)):
        if not isinstance(rule, ClassifierRule) or rule.type != "llm" or rule.model is None:
            continue
        if rule.model not in (*helpers, *config.askable):
            yield Finding(
                (*path, "signals", Classifier.config_key, i, "model"),
                f'there is no helper "{rule.model}" in global.model_catalog.external, and no model of'
                " that name",
                near(rule.model, sorted((*helpers, *config.askable)), write='"{}"'),
                absent=rule.model,
                looked_in=(EXTERNAL, ("providers", "models")),
            )
