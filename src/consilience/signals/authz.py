"""Signal `authz`: the roles of whoever asks, from identity headers.

Config: `routing.signals.role_bindings`. A binding gives its `role` to users and groups. The user's
id and comma-separated groups come from request headers, by default `x-authz-user-id` and
`x-authz-user-groups` (`global.services.authz.identity`); names are compared exactly, case
included. What is emitted, and what conditions name, is the role.

Headers prove nothing by themselves: put a proxy in front that authenticates the caller, sets these
headers and removes those that the client sent. A request without a user id is an error result, so
that neither a condition on a role nor one under NOT matches; with `fail_open: true` it simply has
no role. Of the groups the first `MAX_GROUPS` count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..rules.spelling import in_any_case
from .base import PureSignal, RequestFacts, SignalResult, SignalRule, SignalSettings

MAX_GROUPS = 256


def _header_name(value: str) -> str:
    if not value.isascii() or not value.replace("-", "").replace("_", "").isalnum():
        raise ValueError("must be the name of an HTTP header")
    return value.lower()


HeaderName = Annotated[str, AfterValidator(_header_name)]


class Subject(BaseModel):
    """Whom a role is given to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Literal["User", "Group"], in_any_case("User", "Group")]
    """A user or a group; letter case is free."""
    name: Annotated[str, Field(min_length=1, max_length=256)]
    """Compared exactly."""


class RoleBinding(SignalRule):
    """One entry of `routing.signals.role_bindings`."""

    role: Annotated[str, Field(min_length=1)]
    """What conditions name."""
    subjects: Annotated[tuple[Subject, ...], Field(min_length=1)]

    def emits(self) -> Sequence[str]:
        return (self.role,)


class Identity(BaseModel):
    """`global.services.authz.identity`: the headers that say who asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_id_header: HeaderName = "x-authz-user-id"
    """Holds the user's id."""
    user_groups_header: HeaderName = "x-authz-user-groups"
    """Holds the groups, separated by commas."""


class AuthzSettings(SignalSettings):
    """`global.services.authz`."""

    ignored_keys: ClassVar[Mapping[str, str]] = {
        "providers": "identity comes from the request's headers alone",
    }

    fail_open: Annotated[bool, Field(strict=True)] = False
    """Whether a request without a user id merely has no role, instead of being an error."""
    identity: Identity = Identity()


class Authz(PureSignal[RoleBinding]):
    """The caller's roles."""

    kind: ClassVar[str] = "authz"
    config_key: ClassVar[str] = "role_bindings"
    Rule: ClassVar[type[SignalRule]] = RoleBinding
    Settings: ClassVar[type[BaseModel] | None] = AuthzSettings
    settings_key: ClassVar[str] = "services.authz"

    def __init__(self, rules: Sequence[RoleBinding], settings: BaseModel | None = None) -> None:
        super().__init__(rules, settings)
        own = settings if isinstance(settings, AuthzSettings) else AuthzSettings()
        self._identity = own.identity
        self._bound = _subjects_by_role(rules)
        absent = f"no user id: the request has no header {self._identity.user_id_header!r}"
        self._anonymous = SignalResult(False, error=None if own.fail_open else absent)

    def find(self, facts: RequestFacts) -> Mapping[str, SignalResult]:
        user = facts.headers.get(self._identity.user_id_header, "").strip()
        if not user:
            return dict.fromkeys(self._bound, self._anonymous)
        listed = facts.headers.get(self._identity.user_groups_header, "")
        groups = listed.split(",", MAX_GROUPS)[:MAX_GROUPS]
        subjects = {("User", user), *(("Group", group.strip()) for group in groups)}
        return {
            role: SignalResult(not bound.isdisjoint(subjects))
            for role, bound in self._bound.items()
        }


def _subjects_by_role(rules: Sequence[RoleBinding]) -> Mapping[str, set[tuple[Any, str]]]:
    bound: dict[str, set[tuple[Any, str]]] = {}
    for rule in rules:
        subjects = ((subject.kind, subject.name) for subject in rule.subjects)
        bound.setdefault(rule.role, set()).update(subjects)
    return bound
