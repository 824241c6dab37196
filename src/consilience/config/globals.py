"""`global`: names, limits and times that hold for every decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, create_model, field_serializer

from ..plugins import PLUGINS
from ..plugins.base import Plugin, PluginSettings
from ..signals import SIGNALS
from ..signals.base import Signal
from ..signals.embedding import Embedding, SemanticSettings
from .external import External
from .fields import (
    Flag,
    HeaderName,
    Line,
    Name,
    NotNegative,
    Positive,
    Seconds,
    SecondsOrNone,
    Section,
)
from .providers import Address

FUSION_SLUG = "vllm-sr/fusion"


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


Names = Annotated[tuple[Name, ...], AfterValidator(_distinct)]


class Router(Section):
    """`global.router`: the names that mean "choose for me"."""

    auto_model_names: Names | None = None
    """Exactly these; an empty list switches auto aliases off. Default: `auto_names`."""
    auto_model_name: Name = "MoM"
    """One alias more; ignored when `auto_model_names` is given."""
    include_config_models_in_list: Flag = False
    """Whether `/v1/models` lists the configured models beside the aliases."""
    strategy: Literal["priority", "confidence"] | None = None
    """For routing profiles that do not set their own."""

    @property
    def auto_names(self) -> tuple[str, ...]:
        """The auto aliases in force, in order."""
        if self.auto_model_names is not None:
            return self.auto_model_names
        return _distinct(("vllm-sr/auto", "auto", self.auto_model_name))


class FusionNames(Section):
    """`global.integrations.looper.fusion`."""

    model_names: Annotated[Names, AfterValidator(lambda names: names or (FUSION_SLUG,))] = (
        FUSION_SLUG,
    )
    """The Fusion slugs, in place of the default one. An empty list means the default."""
    request_overrides: Literal["any", "configured_models", "none"] = "configured_models"
    """Which models a request's `fusion` plugin may name."""
    max_panel_size: Annotated[int, Field(strict=True, ge=1, le=64)] = 8
    """Seats that a panel may have at most, in decisions and in requests."""


class LooperSettings(Section):
    """`global.integrations.looper`: the calls that loopers make."""

    endpoint: Address | None = None
    """Serves the models that have no `backend_refs`."""
    timeout_seconds: Seconds = 1200.0
    """For one upstream call; the listener's `timeout` bounds the whole request."""
    max_response_bytes_mb: Annotated[int, Field(strict=True, ge=1, le=1024)] = 32
    """Limit of one upstream body, in MiB."""
    headers: Annotated[Mapping[HeaderName, Line], Field(repr=False)] = {}
    """Sent with every call that a looper makes. Values count as secrets."""
    fusion: FusionNames = FusionNames()

    @field_serializer("headers")
    def _mask_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return dict.fromkeys(headers, "**********")


class Integrations(Section):
    """`global.integrations`."""

    looper: LooperSettings = LooperSettings()


class Gateway(Section):
    """`global.gateway`: limits and times of this gateway. Not part of the reference."""

    stream_start_seconds: SecondsOrNone = 5.0
    """How long a stream's status stays open, so that an early failure is a proper 4xx or 5xx."""
    keepalive_seconds: Seconds = 10.0
    """Time between comments in a stream that has no tokens to send."""
    max_request_bytes_mb: Annotated[int, Field(strict=True, ge=1, le=1024)] = 10
    """Limit of a request body, in MiB; above it 413."""
    max_sse_event_kb: Annotated[int, Field(strict=True, ge=1, le=65536)] = 1024
    """Limit of one event of an upstream's stream, in KiB."""
    max_in_flight: Positive = 1000
    """Upstream calls that the requests at work may have at once; who comes then waits."""
    max_queued: NotNegative = 100
    """Requests that may wait for room; above it 503 at once."""
    max_queue_seconds: SecondsOrNone = 4.0
    """The longest wait for room, then 503. Less than `stream_start_seconds`, so that it is a status."""
    max_messages: Positive = 2000
    """Messages that a request may have."""
    max_connections: Positive = 4096
    """Connections of clients; a further one takes the place of the one idle longest, or gets 503."""
    client_head_seconds: Seconds = 10.0
    """For a client to send a request's head."""
    client_body_seconds: Seconds = 30.0
    """For a client to send a request's body; then 408."""
    client_idle_seconds: Seconds = 75.0
    """How long a connection without a request is kept."""
    client_stall_seconds: Seconds = 60.0
    """How long a client may take nothing of a waiting answer before its connection is closed."""
    drain_seconds: SecondsOrNone = 5.0
    """After SIGTERM: how long `/ready` says 503 while requests are still taken."""
    shutdown_seconds: Seconds = 30.0
    """After SIGTERM: when requests still in flight end with an error, and the process with them."""
    connect_timeout_seconds: Seconds = 3.0
    """For opening a connection to a backend, name and certificate included."""
    first_byte_timeout_seconds: Seconds = 60.0
    """From a request for a stream to its first event."""
    idle_timeout_seconds: Seconds = 60.0
    """The longest silence in an upstream's stream. Comments do not break it."""
    max_upstream_calls: Positive | None = None
    """Upstream calls that one request may make, retries included. Default: three for each of the
    panel's seats, of its judges and of its writers, or for each model of a plain route."""
    retry_count: Annotated[int, Field(strict=True, ge=0, le=10)] = 2
    """Calls beyond the first that one call may become, at backends it has been at."""
    retry_base_seconds: Seconds = 0.5
    """The pause before the first retry is drawn from 0 to this, and each further range is twice as long."""
    retry_cap_seconds: Seconds = 8.0
    """The longest such range."""
    log_upstream_errors: Flag = False
    """Whether the log has, at debug level, what backends say with an error status. Keys are taken out;
    prompts that they repeat are not."""


Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]


class Budgets(Section):
    """`global.budgets`: what may be spent through this gateway, in dollars. Not of the reference."""

    per_request_usd: Dollars | None = None
    """What one request may cost at worst."""
    per_day_usd: Dollars | None = None
    """What all requests of a calendar day in UTC may cost together."""
    per_month_usd: Dollars | None = None
    """What all requests of a calendar month in UTC may cost together."""
    unpriced: Literal["refuse", "allow"] = "refuse"
    """Whether a model whose price is not known may be asked while a budget holds; it counts as
    nothing then."""
    answer_tokens: Positive = 8192
    """How long an answer may be that nothing else limits, while a budget holds."""
    limit_answers: Flag = True
    """Whether such an answer's limit is sent to the model (`max_completion_tokens`). Without it an
    answer can cost more than was set aside."""


def _store_path(value: str) -> str:
    if not (value.startswith("~") or PurePath(value).is_absolute()):
        raise ValueError("must be an absolute path, or one that begins with ~")
    return value


class Keys(Section):
    """`global.keys`: the virtual keys of `consilience keys`. Not part of the reference."""

    store: Annotated[Name, AfterValidator(_store_path)] | None = None
    """The file of SQLite that holds them, absolute or from `~`. Default: in the user's data."""


class Metrics(Section):
    """`global.metrics`: what is counted, for Prometheus."""

    enabled: bool = True
    """Whether there is `/metrics`."""
    public: bool = False
    """Whether it wants no key."""


class GlobalBase(Section):
    """`global`, without what signals and plugins have there."""

    router: Router = Router()
    integrations: Integrations = Integrations()
    gateway: Gateway = Gateway()
    budgets: Budgets = Budgets()
    keys: Keys = Keys()
    metrics: Metrics = Metrics()

    @cached_property
    def helpers(self) -> Sequence[External]:
        """The models that signals may ask."""
        found: Sequence[External] = _value_at(self, f"{_CATALOG}.{_EXTERNAL}")
        return found

    @cached_property
    def semantic(self) -> SemanticSettings:
        """Which model embeds texts."""
        found: SemanticSettings = _value_at(self, Embedding.settings_key)
        return found

    @cached_property
    def signal_settings(self) -> Mapping[str, BaseModel]:
        """What the rules of a kind share, by signal kind."""
        return {
            signal.kind: _value_at(self, signal.settings_key)
            for signal in SIGNALS
            if signal.Settings is not None
        }

    @cached_property
    def plugin_settings(self) -> Mapping[str, PluginSettings]:
        """What the plugins of a kind share, by kind."""
        return {
            plugin.kind: _value_at(self, plugin.settings_key)
            for plugin in PLUGINS
            if plugin.Settings is not None
        }


_CATALOG, _EXTERNAL = "model_catalog", "external"


def _value_at(section: Any, key: str) -> Any:
    for step in key.split("."):
        section = getattr(section, step)
    return section


def _derive_global() -> type[GlobalBase]:
    tree: dict[str, Any] = {}
    sharing: list[type[Signal[Any] | Plugin[Any]]] = [*SIGNALS, *PLUGINS]
    for member in sharing:
        if member.Settings is not None:
            *sections, last = member.settings_key.split(".")
            branch = tree
            for step in sections:
                branch = branch.setdefault(step, {})
            branch[last] = member.Settings
    tree[_CATALOG][_EXTERNAL] = (tuple[External, ...], ())
    return _section("Global", "`global`.", tree, GlobalBase)


def _section(name: str, doc: str, tree: Mapping[str, Any], base: type[Any]) -> type[Any]:
    """A section with one field for each branch: a model with its defaults, or type and default."""
    fields: dict[str, Any] = {}
    for key, branch in tree.items():
        kind: Any = branch
        if isinstance(branch, Mapping):
            kind = _section(f"{name}_{key}", f"`{key}`, as far as it is acted on.", branch, Section)
        fields[key] = branch if isinstance(branch, tuple) else (kind, kind())
    return create_model(name, __base__=base, __module__=__name__, __doc__=doc, **fields)


if TYPE_CHECKING:
    Global = GlobalBase
else:
    Global = _derive_global()
