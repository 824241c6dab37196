"""Checks that need more than one place of the document: names, references, addresses. Pure.

Everything here is let through by the reference and then fails on a request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from urllib.parse import urlsplit

from ..upstream.verdict import RETRY_CONDITIONS
from .call_checks import check_calls
from .decision_checks import check_effort, check_profile
from .duplicates import duplicates
from .paths import Finding, Path
from .plugin_checks import check_plugin_settings
from .providers import BackendRef, ProviderModel, Reliability
from .root import DEFAULT_RECIPE, Config, Listener, is_loopback
from .validation import near

MODELS: Path = ("providers", "models")
_ADDED = "/chat/completions"
CARDS: Path = ("routing", "modelCards")


def check(config: Config) -> Iterator[Finding]:
    """Gives everything that is wrong or doubtful between the parts of a configuration."""
    yield from _check_listeners(config.listeners)
    yield from _check_models(config)
    yield from _check_cards(config)
    yield from _check_defaults(config)
    yield from _check_names(config)
    yield from _check_recipes(config)
    yield from check_plugin_settings(config)
    yield from check_calls(config)
    yield from check_profile(config, config.routing, ("routing",))
    for i, recipe in enumerate(config.recipes):
        yield from check_profile(config, recipe.routing, ("recipes", i, "routing"))


def _check_listeners(listeners: Sequence[Listener]) -> Iterator[Finding]:
    if not listeners:
        yield Finding(
            ("listeners",), "there is no listener; leave `listeners` out for the default one"
        )
    bound: set[tuple[str, int]] = set()
    for i, listener in enumerate(listeners):
        path: Path = ("listeners", i)
        where = (listener.address, listener.port)
        if listener.port and where in bound:
            yield Finding((*path, "port"), f"another listener has {where[0]}:{where[1]} already")
        bound.add(where)
        for j, key in enumerate(listener.api_keys):
            if not key.get_secret_value().strip():
                yield Finding((*path, "api_keys", j), "a key must not be blank")
        if not listener.api_keys and not listener.is_loopback:
            yield Finding(
                (*path, "address"),
                f"anyone who can reach {listener.address} may use the models: no `api_keys` set",
                "bind 127.0.0.1, or set `api_keys`",
                warning=True,
            )


def _check_models(config: Config) -> Iterator[Finding]:
    models = config.providers.models
    if not models:
        yield Finding(
            MODELS[:1],
            "there is no model; add at least one under `providers.models`",
            "consilience init writes a file to begin with",
            looked_in=(MODELS,),
        )
    yield from duplicates(
        (((*MODELS, i, "name"), model.name) for i, model in enumerate(models)), "the model"
    )
    families = config.providers.defaults.reasoning_families
    for i, model in enumerate(models):
        path: Path = (*MODELS, i)
        yield from _check_model(config, model, path)
        family = model.reasoning_family
        if family is not None and family not in families:
            yield Finding(
                (*path, "reasoning_family"),
                f'"{family}" is not in providers.defaults.reasoning_families: ignored',
                near(family, families, write='"{}"') or _declared(families),
                warning=True,
                absent=family,
                looked_in=(("providers", "defaults", "reasoning_families"),),
            )


def _declared(families: Collection[str]) -> str | None:
    return f"declared there: {_listed(list(families))}" if families else None


def _check_model(config: Config, model: ProviderModel, path: Path) -> Iterator[Finding]:
    if model.api_format == "anthropic":
        yield Finding(
            (*path, "api_format"),
            f"\"{model.name}\" is spoken to in OpenAI's format, not in Anthropic's",
            "use the vendor's OpenAI-compatible address",
            warning=True,
        )
    if model.pricing is not None and not model.pricing.is_known:
        yield Finding(
            (*path, "pricing"),
            f'the price of "{model.name}" is unknown: it needs both `prompt_per_1m` and'
            " `completion_per_1m`",
            "0 is a price, too",
            warning=True,
        )
    if not model.backend_refs:
        yield from _check_served_by_looper(config, model, path)
        return
    refs: Path = (*path, "backend_refs")
    yield from duplicates(
        (((*refs, j, "name"), ref.name) for j, ref in enumerate(model.backend_refs) if ref.name),
        "the backend",
    )
    if all(ref.weight == 0 for ref in model.backend_refs):
        yield Finding(refs, "every backend has weight 0, so none is ever asked")
    for j, ref in enumerate(model.backend_refs):
        yield from _check_backend(ref, (*refs, j))
    yield from _check_reliability(model.reliability, (*path, "reliability"))


def _check_reliability(settings: Reliability, path: Path) -> Iterator[Finding]:
    for i, name in enumerate(settings.retry_on or ()):
        if name not in RETRY_CONDITIONS:
            yield Finding(
                (*path, "retry_on", i),
                f'"{name}" is not acted on: nothing is asked again for it',
                near(name, RETRY_CONDITIONS, write='"{}"'),
                warning=True,
                looked_in=((*path, "retry_on"),),
            )
    if settings.health_check_timeout > settings.health_check_interval:
        yield Finding(
            (*path, "health_check_timeout"),
            "a health check may take longer than the time between two of them",
            "make it shorter than `health_check_interval`",
            warning=True,
            looked_in=(path,),
        )


def _check_served_by_looper(config: Config, model: ProviderModel, path: Path) -> Iterator[Finding]:
    endpoint = config.global_.integrations.looper.endpoint
    refs: Path = (*path, "backend_refs")
    needs = f'nothing serves the model "{model.name}": it has no `backend_refs`'
    if endpoint is None:
        yield Finding(
            path,
            f"{needs}, and global.integrations.looper.endpoint is not set",
            "add a backend with `base_url` or `endpoint`",
            looked_in=(refs, ("global", "integrations", "looper", "endpoint")),
        )
    elif is_ourselves(config, endpoint):
        yield Finding(
            path,
            f"{needs}, and global.integrations.looper.endpoint is this gateway itself",
            "add a backend with `base_url` or `endpoint`",
            looked_in=(refs, ("listeners",)),
        )


def is_ourselves(config: Config, address: str) -> bool:
    """Gives whether an address is one of this gateway's own listeners."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    return any(
        listener.port == port and (host == listener.address or is_loopback(host))
        for listener in config.listeners
    )


def _check_backend(ref: BackendRef, path: Path) -> Iterator[Finding]:
    addresses = [name for name in ("endpoint", "base_url") if getattr(ref, name) is not None]
    both: tuple[Path, ...] = ((*path, "endpoint"), (*path, "base_url"))
    if len(addresses) == 2:
        yield Finding(path, "a backend has `endpoint` or `base_url`, not both", looked_in=both)
    elif not addresses and not ref.is_local:
        yield Finding(
            path,
            "a backend needs `endpoint` (host:port) or `base_url` (https://host/v1)",
            looked_in=both,
        )
    if ref.base_url is not None and ref.base_url.endswith(_ADDED) and ref.chat_path is None:
        yield Finding(
            (*path, "base_url"),
            f"`{_ADDED}` is added to base_url, which has it already",
            f"leave it out: base_url ends before `{_ADDED}`",
        )
    keys = [n for n in ("api_key", "api_key_env", "api_key_file") if getattr(ref, n) is not None]
    if len(keys) > 1:
        yield Finding(
            (*path, keys[1]),
            f"a backend has one key: `{keys[0]}` and `{keys[1]}` cannot stand together",
            f"remove `{keys[0]}`" if keys[0] == "api_key" else None,
        )


def _check_cards(config: Config) -> Iterator[Finding]:
    cards = config.routing.model_cards
    yield from duplicates(
        (((*CARDS, i, "name"), card.name) for i, card in enumerate(cards)), "the model card"
    )
    yield from duplicates(
        (
            ((*CARDS, i, "loras", j, "name"), lora.name)
            for i, card in enumerate(cards)
            for j, lora in enumerate(card.loras)
        ),
        "the LoRA",
    )
    for i, card in enumerate(cards):
        for j, lora in enumerate(card.loras):
            if config.model(lora.name) is not None:
                path: Path = (*CARDS, i, "loras", j, "name")
                yield Finding(path, f'the LoRA "{lora.name}" has the name of a model')
        if config.model(card.name) is None:
            yield Finding(
                (*CARDS, i, "name"),
                f'"{card.name}" has a card but no entry in providers.models: it cannot be asked',
                near(card.name, config.model_names, write='"{}"'),
                warning=True,
                absent=card.name,
                looked_in=(MODELS,),
            )


def _check_defaults(config: Config) -> Iterator[Finding]:
    effort: Path = ("providers", "defaults", "default_reasoning_effort")
    yield from check_effort(config.providers.defaults.default_reasoning_effort, effort)
    name = config.providers.defaults.default_model
    if name is None:
        return
    path: Path = ("providers", "defaults", "default_model")
    if name in config.slugs:
        yield Finding(path, f'"{name}" stands for a choice of models; name a model')
    elif name not in config.askable:
        yield Finding(
            path,
            f'there is no model "{name}"',
            near(name, config.askable, write='"{}"'),
            absent=name,
            looked_in=(MODELS, CARDS),
        )


def _check_names(config: Config) -> Iterator[Finding]:
    """Checks that no name means two things."""
    for i, model in enumerate(config.providers.models):
        if model.name in config.slugs:
            yield _two_meanings((*MODELS, i, "name"), model.name)
    for i, card in enumerate(config.routing.model_cards):
        for j, lora in enumerate(card.loras):
            if lora.name in config.slugs:
                yield _two_meanings((*CARDS, i, "loras", j, "name"), lora.name)
    router: Path = ("global", "router")
    for name in sorted(config.auto_names & config.fusion_slugs):
        yield Finding(
            (*router, "auto_model_names"), f'"{name}" is a Fusion slug and an auto alias: keep one'
        )
    entries = [
        (("entrypoints", i, "model_names", j), name)
        for i, entry in enumerate(config.entrypoints)
        for j, name in enumerate(entry.model_names)
    ]
    yield from duplicates(entries, "the entrypoint")
    for path, name in entries:
        if name in config.askable:
            yield Finding(
                path,
                f'"{name}" is a model already, and a request that names it is sent straight there',
                "give the entrypoint a name of its own",
            )
        elif name in config.auto_names or name in config.fusion_slugs:
            what = "an auto alias" if name in config.auto_names else "a Fusion slug"
            yield Finding(path, f'"{name}" is {what} already')


def _two_meanings(path: Path, name: str) -> Finding:
    return Finding(
        path,
        f'"{name}" is an auto alias, a Fusion slug or an entrypoint: a model needs another name',
    )


def _check_recipes(config: Config) -> Iterator[Finding]:
    yield from duplicates(
        ((("recipes", i, "name"), recipe.name) for i, recipe in enumerate(config.recipes)),
        "the recipe",
    )
    names = [recipe.name for recipe in config.recipes]
    for i, name in enumerate(names):
        if name == DEFAULT_RECIPE:
            yield Finding(
                ("recipes", i, "name"),
                '"default" is the name of the top-level `routing`; use another',
            )
    known = list(dict.fromkeys([DEFAULT_RECIPE, *names]))
    for i, entry in enumerate(config.entrypoints):
        if config.recipe(entry.recipe) is None:
            yield Finding(
                ("entrypoints", i, "recipe"),
                f'there is no recipe "{entry.recipe}"; there are {_listed(known)}',
                near(entry.recipe, known, write='"{}"'),
                absent=entry.recipe,
                looked_in=(("recipes",),),
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names[:12]) + (", …" if len(names) > 12 else "")
