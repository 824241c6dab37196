from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from consilience.signals.authz import MAX_GROUPS, Authz, AuthzSettings, RoleBinding
from consilience.signals.base import SignalResult
from support.conversation import facts

ADMINS = {"kind": "Group", "name": "platform-admins"}
BINDINGS = [
    {"name": "admins", "role": "admin", "subjects": [ADMINS]},
    {"name": "root", "role": "admin", "subjects": [{"kind": "user", "name": "root"}]},
    {"name": "paying", "role": "premium", "subjects": [{"kind": "Group", "name": "premium"}]},
]


def results(headers: Mapping[str, str], **settings: Any) -> Mapping[str, SignalResult]:
    rules = [RoleBinding.model_validate(binding) for binding in BINDINGS]
    return Authz(rules, AuthzSettings.model_validate(settings)).find(facts("hi", headers=headers))


def roles(user: str, groups: str = "") -> set[str]:
    headers = {"x-authz-user-id": user, "x-authz-user-groups": groups}
    return {role for role, found in results(headers).items() if found.matched}


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("ann", "platform-admins", {"admin"}),
        ("ann", "dev , premium,platform-admins", {"admin", "premium"}),
        ("root", "", {"admin"}),
        ("ROOT", "Premium", set()),
        ("ann", "root", set()),
        ("premium", "", set()),
        ("ann", "platform-admins-2", set()),
    ],
)
def test_roles_are_those_that_user_and_groups_are_bound_to(
    user: str, groups: str, expected: set[str]
) -> None:
    assert roles(user, groups) == expected


@pytest.mark.parametrize(
    "headers", [{}, {"x-authz-user-id": " "}, {"x-authz-user-groups": "premium"}]
)
def test_every_role_is_an_error_when_there_is_no_user_id(headers: dict[str, str]) -> None:
    found = results(headers)
    assert found.keys() == {"admin", "premium"}
    assert all("no user id" in (result.error or "") for result in found.values())


def test_there_is_no_role_and_no_error_when_it_fails_open() -> None:
    found = results({}, fail_open=True)
    assert list(found.values()) == [SignalResult(False), SignalResult(False)]


def test_headers_have_other_names_when_configured() -> None:
    identity = {"user_id_header": "X-User-Id", "user_groups_header": "X-User-Groups"}
    headers = {"x-user-id": "ann", "x-user-groups": "premium"}
    assert results(headers, identity=identity)["premium"].matched
    assert results({"x-authz-user-id": "root"}, identity=identity)["admin"].error


def test_groups_beyond_the_limit_do_not_count() -> None:
    many = ",".join(f"g{i}" for i in range(MAX_GROUPS))
    assert roles("ann", f"{many},premium") == set()


@pytest.mark.parametrize(
    "binding",
    [
        {"name": "b", "role": "admin", "subjects": []},
        {"name": "b", "role": "", "subjects": [ADMINS]},
        {"name": "b", "role": "admin", "subjects": [{"kind": "Robot", "name": "r2"}]},
        {"name": "b", "subjects": [ADMINS]},
    ],
)
def test_binding_is_refused_when_it_binds_nothing(binding: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RoleBinding.model_validate(binding)


@pytest.mark.parametrize("name", ["", "x user", "x:user", "é"])
def test_header_name_is_refused_when_it_is_none(name: str) -> None:
    with pytest.raises(ValidationError, match="HTTP header"):
        AuthzSettings.model_validate({"identity": {"user_id_header": name}})
