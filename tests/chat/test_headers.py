"""Changes to the headers of upstream calls."""

from __future__ import annotations

from consilience.chat.headers import HeaderChanges

OWN = {"Authorization": "Bearer k", "X-Tier": "free", "X-Trace": "on"}


def test_nothing_changes_when_nothing_is_said() -> None:
    assert HeaderChanges().applied(OWN) == OWN


def test_added_header_is_sent_only_where_there_is_none_of_the_name() -> None:
    changes = HeaderChanges(added={"x-tier": "premium", "x-team": "red"})

    assert changes.applied(OWN) == {**OWN, "x-team": "red"}


def test_updated_header_takes_the_place_of_one_of_the_name() -> None:
    changes = HeaderChanges(updated={"x-tier": "premium", "x-new": "1"})

    assert changes.applied(OWN) == {
        "Authorization": "Bearer k",
        "X-Trace": "on",
        "x-tier": "premium",
        "x-new": "1",
    }


def test_deleted_header_is_not_sent() -> None:
    changes = HeaderChanges(deleted=frozenset(("x-trace", "x-absent")))

    assert changes.applied(OWN) == {"Authorization": "Bearer k", "X-Tier": "free"}


def test_values_are_not_shown() -> None:
    assert "canary" not in repr(HeaderChanges(added={"a": "canary"}, updated={"b": "canary"}))
