"""Virtual keys for tests, in a file of their own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from consilience.keys.records import KeyLimits, new_secret
from consilience.keys.store import KeyStore
from support.live import fusion_yaml

PRICES = "pricing: {prompt_per_1m: 1, completion_per_1m: 10}"


def made_key(
    path: Path, name: str = "team", *, expires_in: int | None = None, **limits: Any
) -> str:
    """Makes a key with these `KeyLimits` and gives it."""
    secret, now = new_secret(), int(time.time())  # noqa: TID251  # keys expire on a calendar
    with KeyStore(path) as store:
        expires = None if expires_in is None else now + expires_in
        store.create(name, secret, KeyLimits(**limits), now=now, expires=expires)
    return secret.text


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def keyed_yaml(path: Path, *, budgets: str = "", priced: bool = True, **more: Any) -> str:
    """`fusion_yaml` with this file of keys, budgets in flow style, and models that have a price.

    Prompts cost $1 and answers $10 a million tokens. `p` is another model of that price.
    """
    text = fusion_yaml(
        models="    - {name: p, backend_refs: [{base_url: 'http://x/v1'}]}\n", **more
    )
    if priced:
        text = text.replace("}]}\n", f"}}], {PRICES}}}\n")
    return f"{text}  keys: {{store: '{path}'}}\n  budgets: {{{budgets}}}\n"
