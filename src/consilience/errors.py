"""Every error this project raises, drawn as a tree. Clients are shown the messages, so these never
carry an upstream's body, an address, a key or a path.

ConsilienceError
├─ InvalidRequestError            400  invalid_request_error
│  ├─ UnknownModelError           404  model_not_found
│  ├─ NoMatchingDecisionError     400  no_matching_decision
│  ├─ CostCeilingError            400  max_cost_exceeded
│  ├─ RequestTooLargeError        413  request_too_large
│  ├─ AddressTooLongError         414  address_too_long
│  ├─ HeadersTooLargeError        431  headers_too_large
│  └─ UnsupportedMediaTypeError   415  unsupported_media_type
├─ AuthenticationError            401  invalid_api_key
├─ BudgetExceededError            402  budget_exceeded
├─ PermissionDeniedError          403  permission_denied
├─ NotFoundError                  404  not_found
├─ MethodNotAllowedError          405  method_not_allowed
├─ RequestTimeoutError            408  request_timeout      the client was too slow
├─ RateLimitedError               429  rate_limit_exceeded  Retry-After
├─ OverloadedError                503  overloaded           Retry-After
├─ BudgetUnavailableError         503  budget_unavailable   Retry-After
├─ ShuttingDownError              503  shutting_down        Retry-After
├─ UnsupportedAlgorithmError      501  unsupported_algorithm
├─ DeadlineExceededError          504  deadline_exceeded    the whole request ran out of time
├─ UpstreamError                  502  upstream_error
│  ├─ UpstreamTimeoutError        504  upstream_timeout
│  ├─ UpstreamConnectionError     502  upstream_unreachable
│  ├─ UpstreamStatusError         see  `status_of`
│  ├─ UpstreamProtocolError       502  upstream_protocol_error
│  ├─ UnusableAnswerError         502  unusable_answer      2xx, but nothing a reader could use
│  └─ PanelFailedError            502  panel_failed         429/504 when every seat failed so
└─ ConfigError                    at start only; a list of problems
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ConsilienceError(Exception):
    """The root: anything this project raises on purpose."""

    status: int = 500
    type: str = "server_error"
    code: str = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        spent: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The request field that is wrong, as a path (`messages[2].role`)."""
        self.retry_after_s = retry_after_s
        """Seconds after which a retry makes sense; becomes `Retry-After`."""
        self.spent = spent
        """True when paid calls were made: the client is told not to retry by itself."""

    @property
    def sentence(self) -> str:
        """The message as the client reads it."""
        return self.message


class InvalidRequestError(ConsilienceError):
    """The request itself is wrong; nothing was spent."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class UnknownModelError(InvalidRequestError):
    """The request names a model that is neither configured nor a slug."""

    status = 404
    code = "model_not_found"


class NoMatchingDecisionError(InvalidRequestError):
    """No decision that the requested slug may use matched."""

    code = "no_matching_decision"


class CostCeilingError(InvalidRequestError):
    """The request could cost more than it may by its own words; nothing was spent."""

    code = "max_cost_exceeded"


class RequestTooLargeError(InvalidRequestError):
    """The request's body is over the configured limit."""

    status = 413
    code = "request_too_large"


class AddressTooLongError(InvalidRequestError):
    """The request's path, with its query, is over the limit."""

    status = 414
    code = "address_too_long"


class HeadersTooLargeError(InvalidRequestError):
    """The request's headers are over the limit, in number or in size."""

    status = 431
    code = "headers_too_large"


class UnsupportedMediaTypeError(InvalidRequestError):
    """The request's content type or encoding is not one we read."""

    status = 415
    code = "unsupported_media_type"


class AuthenticationError(ConsilienceError):
    """The client's key is missing or wrong."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class BudgetExceededError(ConsilienceError):
    """The request could cost more than is left of the key's budget or the gateway's."""

    status = 402
    type = "insufficient_quota"
    code = "budget_exceeded"


class PermissionDeniedError(ConsilienceError):
    """The client's key may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFoundError(InvalidRequestError):
    """No such path."""

    status = 404
    code = "not_found"


class MethodNotAllowedError(InvalidRequestError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class RequestTimeoutError(InvalidRequestError):
    """The client took too long to send its request."""

    status = 408
    code = "request_timeout"


class RateLimitedError(ConsilienceError):
    """A limit of this gateway (not of an upstream) was reached."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class OverloadedError(ConsilienceError):
    """Too many requests in flight; nothing was spent."""

    status = 503
    type = "overloaded_error"
    code = "overloaded"


class BudgetUnavailableError(ConsilienceError):
    """A budget holds, and what is left of it cannot be known; nothing was spent."""

    status = 503
    code = "budget_unavailable"


class ShuttingDownError(ConsilienceError):
    """The gateway is stopping; another instance, or the next one here, will answer."""

    status = 503
    code = "shutting_down"


class UnsupportedAlgorithmError(ConsilienceError):
    """The decision that matched names an algorithm this project does not have."""

    status = 501
    type = "invalid_request_error"
    code = "unsupported_algorithm"


class DeadlineExceededError(ConsilienceError):
    """The request's own deadline passed."""

    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"


class UpstreamError(ConsilienceError):
    """A model could not be reached or did not answer properly."""

    status = 502
    type = "upstream_error"
    code = "upstream_error"
    reason: str = "upstream_error"
    """The machine-readable class of the failure, as it stands in `failed_models[].reason`."""

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        status_code: int | None = None,
        retry_after_s: float | None = None,
        reason: str | None = None,
        spent: bool = False,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, spent=spent)
        self.model = model
        """The configured name of the model that failed."""
        self.status_code = status_code
        """The HTTP status the upstream answered with, if it answered."""
        self.attempts = 1
        """Upstream calls that this one became, retries included."""
        self.reason = reason or self.reason

    @property
    def sentence(self) -> str:
        return f"model {self.model!r}: {self.message}" if self.model else self.message


class UpstreamTimeoutError(UpstreamError):
    """The model did not answer in time."""

    status = 504
    code = "upstream_timeout"
    reason = "timeout"


class UpstreamConnectionError(UpstreamError):
    """No connection, or one that broke: DNS, refused, TLS, reset."""

    code = "upstream_unreachable"
    reason = "connection"

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        reason: str | None = None,
        sent: bool = False,
        stale: bool = False,
    ) -> None:
        super().__init__(message, model=model, reason=reason)
        self.sent = sent
        """Whether the request may have arrived before the connection broke."""
        self.stale = stale
        """Whether it was an idle connection that the server was just closing."""


class UpstreamProtocolError(UpstreamError):
    """The answer is not what chat completions promise: not JSON, no choices, cut short."""

    code = "upstream_protocol_error"
    reason = "protocol"


class UnusableAnswerError(UpstreamError):
    """A proper answer without text: empty, refused, or reasoning only."""

    code = "unusable_answer"
    reason = "empty"


def status_of(upstream_status: int) -> tuple[int, str]:
    """Gives the status we answer with, and the reason, for an upstream's error status.

    429 and the 4xx that speak of the client's request pass on. An upstream's 401, 402 and 403
    speak of *our* key, which is not the client's fault: 502. Everything else is 502.
    """
    if upstream_status == 429:
        return 429, "rate_limited"
    if upstream_status in (401, 402, 403):
        return 502, "credentials"
    if upstream_status in (400, 404, 409, 413, 415, 422):
        return upstream_status, "rejected"
    if upstream_status in (408, 504):
        return 504, "timeout"
    return 502, "server_error"


class UpstreamStatusError(UpstreamError):
    """The upstream answered with an error status."""

    def __init__(
        self,
        message: str,
        *,
        model: str,
        status_code: int,
        retry_after_s: float | None = None,
        rejected_param: str | None = None,
    ) -> None:
        status, reason = status_of(status_code)
        self.rejected_param = rejected_param
        """The field the upstream says it refuses (`error.param`), for those who can do without it."""
        super().__init__(
            message,
            model=model,
            status_code=status_code,
            retry_after_s=retry_after_s,
            reason=reason,
        )
        self.status = status
        if status == 429:
            self.type, self.code = "rate_limit_error", "upstream_rate_limited"
        elif status == 504:
            self.code = "upstream_timeout"
        elif 400 <= status < 500:
            self.type, self.code = "invalid_request_error", "upstream_rejected_request"
        elif reason == "credentials":
            self.code = "upstream_credentials"


class PanelFailedError(UpstreamError):
    """No panel seat gave a usable answer, or one failed under `on_error: fail`."""

    code = "panel_failed"
    reason = "panel_failed"

    def __init__(
        self,
        message: str,
        *,
        failures: Sequence[object],
        status: int = 502,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, spent=True)
        self.failures = tuple(failures)
        """Every failed seat, in seat order (`loopers.fusion.panel.FailedSeat`)."""
        self.status = status


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (or ignored) in a configuration file."""

    path: str
    """Where in the document: `routing.decisions[2].algorithm.fusion.on_error`; empty for the whole file."""
    message: str
    """What is wrong, what was found and what is allowed, as one sentence."""
    line: int | None = None
    """1-based; None when there is no file or no position."""
    column: int | None = None
    """1-based."""
    suggestion: str | None = None
    """What was probably meant, or the command or edit that mends it."""


class ConfigError(ConsilienceError):
    """The configuration cannot be used. Carries every problem, not only the first."""

    code = "invalid_configuration"

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        source: str = "",
        text: str = "",
        warnings: Sequence[Problem] = (),
    ) -> None:
        self.problems, self.warnings = tuple(problems), tuple(warnings)
        self.source = source
        """What the user called the file."""
        self.text = text
        """The file's own text, for code frames. May hold secrets: print only single lines of it."""
        count = len(self.problems)
        first = self.problems[0].message if self.problems else "invalid configuration"
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in {source}: {first}")
