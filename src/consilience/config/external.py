"""`global.model_catalog.external`: helper models that signals ask."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, SecretStr

from .fields import Line, Name, Positive, SecretHeader, Section


class HelperEndpoint(Section):
    """Where a helper is reached: an OpenAI-compatible server."""

    address: Line
    """A host name or an IP address."""
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] = 443
    """Of the server."""
    protocol: Literal["http", "https"] = "http"
    """How the server is spoken to."""
    path: Line = "/v1/chat/completions"
    """Ours."""

    @property
    def url(self) -> str:
        """The address that is asked."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.protocol}://{host}:{self.port}{self.path}"


class External(Section):
    """One helper model."""

    name: Name
    """What classifiers call it."""
    model_role: Literal["guardrail", "classification", "preference"] | None = None
    """`preference`: the one that preferences ask."""
    llm_endpoint: HelperEndpoint
    llm_model_name: Name
    """The name that is sent."""
    llm_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """For one answer; the request waits for it."""
    access_key: SecretHeader | None = None
    """Sent as a bearer token."""
    access_key_env: Line | None = None
    """Ours: the environment variable that holds it."""
    max_tokens: Positive = 512
    """Of one answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """That is sent."""

    _key: SecretStr | None = PrivateAttr(None)

    @property
    def key(self) -> SecretStr | None:
        """The key that was found when the configuration was loaded."""
        return self._key or self.access_key
