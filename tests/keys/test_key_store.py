"""The file of keys: what is in it, who may read it, what cannot get into it."""

from __future__ import annotations

import sqlite3
import stat
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.keys.records import PREFIX, KeyLimits, digest_of, new_secret
from consilience.keys.store import KeyStore, KeyStoreError, default_store, is_there

NOW = 1_800_000_000
EVERYTHING_SET = KeyLimits(("a", "vllm-sr/fusion"), 5, 1000, Decimal("0.10"), Decimal("2.5"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "keys.sqlite3"


def test_a_key_is_256_random_bits_with_the_prefix() -> None:
    drawn = [new_secret() for _ in range(50)]

    assert len({secret.text for secret in drawn}) == 50
    assert all(len(secret.text) == len(PREFIX) + 43 for secret in drawn)
    assert all(secret.text.startswith(PREFIX) for secret in drawn)


def test_a_key_comes_back_as_it_was_made(path: Path) -> None:
    with KeyStore(path) as store:
        made = store.create("team", new_secret(), EVERYTHING_SET, now=NOW, expires=NOW + 60)
    with KeyStore(path) as store:
        assert store.records() == [made]
    assert made.limits == EVERYTHING_SET


def test_only_the_digest_is_kept(path: Path) -> None:
    secret = new_secret()
    with KeyStore(path) as store:
        made = store.create("team", secret, KeyLimits(), now=NOW)

    written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert secret.text.encode() not in written
    assert secret.text.removeprefix(PREFIX).encode() not in written
    assert digest_of(secret.text) in written
    assert secret.text not in repr(made)
    assert digest_of(secret.text).hex() not in repr(made)
    assert repr(digest_of(secret.text)) not in repr(made)


def test_the_file_is_its_owners_alone(path: Path) -> None:
    with KeyStore(path) as store:
        store.create("team", new_secret(), KeyLimits(), now=NOW)
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    KeyStore(path).close()
    path.chmod(0o644)

    KeyStore(path).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_name_is_taken_until_its_key_is_revoked(path: Path) -> None:
    with KeyStore(path) as store:
        store.create("team", new_secret(), KeyLimits(), now=NOW)
        with pytest.raises(KeyStoreError, match="already"):
            store.create("team", new_secret(), KeyLimits(), now=NOW)
        store.revoke("team", now=NOW)
        store.create("team", new_secret(), KeyLimits(), now=NOW)

        assert [key.status(NOW) for key in store.records()].count("active") == 1


def test_a_rotated_key_keeps_id_limits_and_name(path: Path) -> None:
    first, second = new_secret(), new_secret()
    with KeyStore(path) as store:
        made = store.create("team", first, EVERYTHING_SET, now=NOW)
        store.rotate(made.id, second, now=NOW, grace_s=60)
        (key,) = store.records()

    assert (key.id, key.name, key.limits) == (made.id, "team", EVERYTHING_SET)
    assert key.why_refused(second.digest, NOW + 61) is None
    assert key.why_refused(first.digest, NOW + 59) is None
    assert key.why_refused(first.digest, NOW + 60) == "this key was replaced by a new one"


def test_the_old_key_ends_at_once_without_grace(path: Path) -> None:
    first = new_secret()
    with KeyStore(path) as store:
        store.create("team", first, KeyLimits(), now=NOW)
        store.rotate("team", new_secret(), now=NOW)
        (key,) = store.records()

    assert key.why_refused(first.digest, NOW) is not None


@pytest.mark.parametrize("revoked", [False, True])
def test_a_key_that_is_not_in_use_cannot_be_ended(path: Path, revoked: bool) -> None:
    with KeyStore(path) as store:
        if revoked:
            store.create("team", new_secret(), KeyLimits(), now=NOW)
            store.revoke("team", now=NOW)

        with pytest.raises(KeyStoreError, match="no key in use is called 'team'"):
            store.revoke("team", now=NOW)
        with pytest.raises(KeyStoreError, match="no key in use is called 'team'"):
            store.rotate("team", new_secret(), now=NOW)


@settings(max_examples=50, deadline=None)
@given(
    text=st.text(min_size=1, max_size=30) | st.sampled_from(["' OR 1=1 --", '"; DROP TABLE keys'])
)
def test_no_text_gets_out_of_its_place(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    with KeyStore(tmp_path_factory.mktemp("k") / "keys") as store:
        other = store.create("other", new_secret(), KeyLimits(), now=NOW)
        store.create(f"x{text}", new_secret(), KeyLimits((text,)), now=NOW)
        with pytest.raises(KeyStoreError):
            store.revoke(f"y{text}", now=NOW)

        found = {key.name: key for key in store.records()}

    assert found["other"] == other
    assert found[f"x{text}"].limits.models == (text,)


def test_spend_is_summed_exactly(path: Path) -> None:
    day = "2026-11-25"
    with KeyStore(path) as store:
        for _ in range(10):
            store.add_spend({("key_1", day): Decimal("0.0000001"), ("*", day): Decimal("0.1")})
        store.add_spend({("key_1", "2026-10-31"): Decimal(1)})

        assert store.spend_since("2026-11-01") == {
            ("key_1", day): Decimal("0.0000010"),
            ("*", day): Decimal("1.0"),
        }


def test_two_connections_lose_no_spend(path: Path) -> None:
    at = ("key_1", "2026-11-25")
    with KeyStore(path) as one, KeyStore(path) as other:
        before = one.changes
        for _ in range(20):
            one.add_spend({at: Decimal("0.1")})
            other.add_spend({at: Decimal("0.1")})

        assert one.spend_since(at[1])[at] == Decimal("4.0")
        assert one.changes != before


def test_a_file_that_is_something_else_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("this is no database, and it is longer than a header of one would be" * 40)

    with pytest.raises(KeyStoreError, match="cannot be used: file is not a database"):
        KeyStore(path)


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    KeyStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()

    with pytest.raises(KeyStoreError, match="newer version"):
        KeyStore(path)


def test_a_place_that_cannot_be_looked_at_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert not is_there(tmp_path / "nothing")
    with pytest.raises(KeyStoreError, match="cannot be used"):
        is_there(tmp_path / "file" / "keys")


def test_keys_lie_in_the_users_data_by_default() -> None:
    assert default_store({"CONSILIENCE_DATA": "/data"}) == Path("/data/keys.sqlite3")
    assert default_store({}).parts[-2:] == ("consilience", "keys.sqlite3")


def test_rotating_again_is_refused_while_the_former_key_is_good(path: Path) -> None:
    first, second = new_secret(), new_secret()
    with KeyStore(path) as store:
        store.create("team", first, KeyLimits(), now=NOW)
        store.rotate("team", second, now=NOW, grace_s=60)

        with pytest.raises(KeyStoreError, match=r"good until .* UTC.*--now"):
            store.rotate("team", new_secret(), now=NOW + 59, grace_s=60)
        (key,) = store.records()

    assert key.why_refused(first.digest, NOW + 59) is None
    assert key.why_refused(second.digest, NOW + 59) is None


@pytest.mark.parametrize(("later", "end_former"), [(60, False), (1, True)])
def test_rotating_again_is_done_after_the_grace_or_when_it_is_given_up(
    path: Path, later: int, end_former: bool
) -> None:
    second = new_secret()
    with KeyStore(path) as store:
        store.create("team", new_secret(), KeyLimits(), now=NOW)
        store.rotate("team", second, now=NOW, grace_s=60)
        store.rotate("team", new_secret(), now=NOW + later, grace_s=60, end_former=end_former)
        (key,) = store.records()

    assert key.former_digest == second.digest
    assert key.why_refused(second.digest, NOW + later) is None
