"""Keys are compared in a time that tells nothing of them, on every path that lets one in."""

from __future__ import annotations

import ast
import hmac
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from consilience import Gateway, ScriptedUpstream, parse_config
from consilience.errors import AuthenticationError
from consilience.keys import records, ring
from consilience.keys.records import digest_of
from consilience.limits import guard
from support.keys import bearer, keyed_yaml, made_key

SECRET = ("digest", "secret", "token", "known", "sent", "each")
"""Parts of the names of what must not be compared with `==`."""


def compared_by_operator(source: str) -> Iterator[int]:
    """Lines in which something of such a name is compared by an operator that stops early."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        if all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            continue
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        if any(part in name for name in names for part in SECRET):
            yield node.lineno


@pytest.mark.parametrize("module", [records, ring, guard], ids=["records", "ring", "guard"])
def test_no_operator_compares_keys(module: ModuleType) -> None:
    assert list(compared_by_operator(inspect.getsource(module))) == []


def test_an_operator_would_be_found() -> None:
    source = "a = [digest == known for known in self._digests]\nb = x is known\nc = 1 == 2\n"

    assert list(compared_by_operator(source)) == [1]


@pytest.mark.anyio
async def test_every_key_that_is_let_in_was_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    sound = hmac.compare_digest

    def compare(sent: bytes, known: bytes) -> bool:
        compared.append((sent, known))
        return sound(sent, known)

    path = tmp_path / "keys.sqlite3"
    virtual = made_key(path)
    config = parse_config(keyed_yaml(path, listener="api_keys: [one-key, another-key]"))
    async with Gateway(config, upstream=ScriptedUpstream()) as gateway:
        monkeypatch.setattr(hmac, "compare_digest", compare)
        of_listener = {digest_of("one-key"), digest_of("another-key")}
        for key in ("one-key", virtual, "wrong"):
            compared.clear()
            try:
                gateway.guard.authenticate(bearer(key)["authorization"])
            except AuthenticationError:
                assert key == "wrong"
            known = {known for sent, known in compared if sent == digest_of(key)}
            assert known >= of_listener
            assert (digest_of(key) in known) is (key != "wrong")
