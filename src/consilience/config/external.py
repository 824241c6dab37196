"""`global.model_catalog.external`: helper models that signals ask."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, SecretStr, field_validator

from .fields import Line, Name, Positive, SecretHeader, Section


class HelperEndpoint(Section):
    """Where a helper is reached: an OpenAI-compatible server."""

    address: Line
    """A host name or an IP address."""
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = None
    """None: that of the protocol."""
    protocol: Literal["http", "https"] = "http"
    """How the server is spoken to."""
    path: Line = "/v1/chat/completions"
    """Ours."""

    @field_validator("address")
    @classmethod
    def _is_a_host(cls, address: str) -> str:
        if not re.fullmatch(r"[\w.-]+|\[?[0-9a-fA-F:.]+\]?", address.strip(), re.ASCII):
            raise ValueError(
                "must be a host name or an IP address; scheme, port and path have keys of their own"
            )
        return address.strip().strip("[]")

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        if not re.fullmatch(r"/[^\s?#]*", path):
            raise ValueError("must begin with `/` and have no `?`, `#` or space")
        return path

    @property
    def url(self) -> str:
        """The address that is asked."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        port = self.port or (443 if self.protocol == "https" else 80)
        return f"{self.protocol}://{host}:{port}{self.path}"


class External(Section):
    """One helper model."""

    name: Name
    """What classifiers call it."""
    model_role: Literal["guardrail", "classification", "preference"] | None = None
    """`preference`: the one that preferences ask, whatever it is named; of several the first."""
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
