"""`providers`: the models, what they cost, and the backends that serve them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr

from ..loopers.reasoning import ReasoningDialect
from ..telemetry.redaction import KEY_LIKE
from .fields import (
    Duration,
    HeaderName,
    Line,
    Name,
    NotNegative,
    SecretHeader,
    SecretHeaders,
    Section,
)

CHAT_PATH = "/v1/chat/completions"
_HOST_AND_PORT = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?"
_ENDPOINT = re.compile(rf"{_HOST_AND_PORT}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

Price = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


def _endpoint(value: str) -> str:
    if "://" in value:
        raise ValueError("must be host:port; an address with a scheme belongs in `base_url`")
    match = _ENDPOINT.match(value)
    if match is None or (match[1] is not None and not 1 <= int(match[1]) <= 65535):
        raise ValueError("must be host:port, such as 127.0.0.1:8000")
    return value


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or any(c.isspace() or ord(c) < 33 for c in value):
        raise ValueError("must be an address such as https://llm.example.org/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password; use `api_key_env`")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    return value.rstrip("/")


Endpoint = Annotated[
    str,
    AfterValidator(_endpoint),
    Field(json_schema_extra={"pattern": f"^{_HOST_AND_PORT}$"}),
]
Address = Annotated[
    str,
    AfterValidator(_address),
    Field(json_schema_extra={"pattern": r"^https?://[^\s/?#@]+(?:/[^\s?#]*)?$"}),
]


def _variable_name(value: str) -> str:
    if not _VARIABLE.match(value) or KEY_LIKE.search(value):
        raise ValueError(
            "must be the name of an environment variable, such as ACME_KEY, that holds the key"
        )
    return value


VariableName = Annotated[
    str,
    AfterValidator(_variable_name),
    Field(json_schema_extra={"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
]


class BackendRef(Section):
    """One endpoint that serves a model."""

    name: Name | None = None
    """For logs and metrics."""
    endpoint: Endpoint | None = None
    """`host:port`; the path is `/v1/chat/completions`. Either this or `base_url`."""
    base_url: Address | None = None
    """Everything before `/chat/completions`."""
    protocol: Literal["http", "https"] = "http"
    """Of `endpoint`; `base_url` carries its own."""
    weight: NotNegative = 1
    """Share of the calls among the model's backends."""
    type: Line = "vllm"
    """What runs there; for people."""
    provider: Line | None = None
    """Vendor of the API; `local` means that this process serves the model itself."""
    auth_header: HeaderName = "Authorization"
    """The header that carries the key."""
    auth_prefix: Line = "Bearer"
    """Written before the key; empty for the key alone."""
    extra_headers: SecretHeaders = Field(default_factory=dict)
    """Sent with every call. Values count as secrets."""
    api_version: Line | None = None
    """Sent as `?api-version=`."""
    chat_path: Line | None = None
    """Replaces `/chat/completions` after `base_url`, or `/v1/chat/completions` after `endpoint`."""
    api_key: SecretHeader | None = None
    """The key itself; better in the environment or a file."""
    api_key_env: VariableName | None = None
    """The environment variable that holds the key."""
    api_key_file: Name | None = None
    """The file that holds the key; relative to the configuration file."""

    _key: SecretStr | None = PrivateAttr(default=None)

    @property
    def key(self) -> SecretStr | None:
        """The key, wherever it came from; resolved when the configuration was loaded."""
        return self._key if self._key is not None else self.api_key

    @property
    def is_local(self) -> bool:
        """Whether this process serves the model itself; `provider_model_id` names it then."""
        return self.provider == "local"

    @property
    def chat_url(self) -> str:
        """The address that chat completions are posted to; empty for a local model."""
        if self.base_url is not None:
            url = f"{self.base_url}/{(self.chat_path or 'chat/completions').lstrip('/')}"
        elif self.endpoint is not None:
            path = (self.chat_path or CHAT_PATH).lstrip("/")
            url = f"{self.protocol}://{self._host_and_port}/{path}"
        else:
            return ""
        if self.api_version:
            joint = "&" if "?" in url else "?"
            url = f"{url}{joint}api-version={quote(self.api_version, safe='')}"
        return url

    @property
    def _host_and_port(self) -> str:
        endpoint = self.endpoint or ""
        if re.search(r":[0-9]+\Z", endpoint):
            return endpoint
        return f"{endpoint}:{443 if self.protocol == 'https' else 80}"

    def request_headers(self) -> dict[str, str]:
        """Gives the headers of every call, the key included: never log them."""
        headers = {name: value.get_secret_value() for name, value in self.extra_headers.items()}
        if self.key is not None and self.key.get_secret_value():
            headers[self.auth_header] = f"{self.auth_prefix} {self.key.get_secret_value()}".strip()
        return headers


class Pricing(Section):
    """What a model costs, per million tokens."""

    currency: Line = "USD"
    """Costs are told for USD only."""
    prompt_per_1m: Price = Decimal(0)
    """Prompt tokens."""
    completion_per_1m: Price = Decimal(0)
    """Tokens of the answer."""
    cached_input_per_1m: Price | None = None
    """Prompt tokens read from the provider's cache; None: as `prompt_per_1m`."""
    cache_write_per_1m: Price | None = None
    """Prompt tokens written to the provider's cache; None: as `prompt_per_1m`."""

    @property
    def is_known(self) -> bool:
        """Whether it says what prompts cost and what answers cost, be it nothing."""
        return self.model_fields_set >= {"prompt_per_1m", "completion_per_1m"}


def _conditions(value: object) -> object:
    """Reads `a,b` as a list of names."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _server_path(value: str) -> str:
    if not value.startswith("/") or any(c.isspace() for c in value):
        raise ValueError("must be a path on the server, such as /health")
    return value


Conditions = Annotated[
    tuple[Line, ...], BeforeValidator(_conditions, json_schema_input_type=tuple[Line, ...] | Line)
]
ServerPath = Annotated[
    Line, AfterValidator(_server_path), Field(json_schema_extra={"pattern": r"^/\S*$"})
]


class Reliability(Section):
    """`reliability` of a model: how its backends share the calls, and when one is left out.

    What is not set is as for a model without this block.
    """

    lb_policy: Literal["round_robin", "least_request"] = "round_robin"
    """`least_request`: of two drawn by weight, the one with fewer calls in flight."""
    retry_count: Annotated[int, Field(strict=True, ge=0, le=10)] | None = None
    """In place of `global.gateway.retry_count`."""
    retry_on: Conditions | None = None
    """Names of failures, a list or separated by commas; only these are asked again."""
    consecutive_5xx: NotNegative | None = None
    """Failures in a row (5xx, timeouts, broken connections) that eject a backend; 0: never. Default: 5."""
    base_ejection_time: Duration | None = None
    """Seconds of the first ejection; the next ones are longer. Default: 30."""
    max_ejection_percent: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    """Share of the backends that may be ejected; one may always be, and one is always left."""
    health_check_path: ServerPath | None = None
    """Asked of every backend at intervals; without it nothing is."""
    health_check_interval: Duration = 10.0
    """Seconds from one such question to the next."""
    health_check_timeout: Duration = 2.0
    """Seconds that an answer to it may take."""


class ProviderModel(Section):
    """A model that requests and decisions may name."""

    name: Name
    """What decisions and clients call it."""
    provider_model_id: Name | None = None
    """What its backends call it, when that differs."""
    reasoning_family: Name | None = None
    """A key of `providers.defaults.reasoning_families`."""
    api_format: Literal["openai", "anthropic"] = "openai"
    """Wire format of its backends; both are spoken to in OpenAI's."""
    pricing: Pricing | None = None
    reliability: Reliability = Reliability()
    backend_refs: tuple[BackendRef, ...] = ()
    """Where it is served; several share the calls by weight."""

    @property
    def upstream_id(self) -> str:
        """The name sent to its backends."""
        return self.provider_model_id or self.name


class ReasoningFamily(Section):
    """How a family of models is told to reason."""

    type: ReasoningDialect
    """`chat_template_kwargs`: `parameter` is true or false in there; `reasoning_effort`: that field
    has the effort; `top_level_reasoning_effort`: the field named by `parameter` has it."""
    parameter: Line
    """The field that switches it."""


class ProviderDefaults(Section):
    """What holds when nothing else is said."""

    default_model: Name | None = None
    """Answers requests to an auto alias that no decision matches."""
    default_reasoning_effort: Name | None = None
    """Of `modelRefs` that switch reasoning on without an effort of their own. Default: high."""
    reasoning_families: Mapping[str, ReasoningFamily] = {}
    """How models are told to reason, by family."""


class Providers(Section):
    """`providers`."""

    defaults: ProviderDefaults = ProviderDefaults()
    models: tuple[ProviderModel, ...] = ()
