"""`consilience keys`: virtual keys, made, listed, replaced and ended in a file of SQLite."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from rich.table import Table

from ..chat.codec import encode
from ..errors import ConsilienceError, InvalidRequestError
from ..keys.records import KeyLimits, Secret, VirtualKey, new_secret
from ..keys.store import EVERYTHING, KeyStore, default_store, is_there
from ..limits.guard import store_of
from .console import err, out, piped, plain, report
from .exit_codes import OK
from .setup import named_config

_UNIT_S = {"m": 60, "h": 3600, "d": 86400}
_LONGEST_NAME = 100
_LONGEST_S = 100 * 366 * 86400


def create(
    *,
    name: str,
    models: str | None,
    expires: str | None,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    usd_per_day: str | None,
    usd_per_month: str | None,
    config: Path | None,
    store: Path | None,
    as_json: bool,
) -> int:
    """Makes a key and shows it; gives the exit code."""
    now, secret = _now(), new_secret()
    try:
        limits = KeyLimits(
            _names(models),
            requests_per_minute,
            tokens_per_minute,
            _dollars(usd_per_day, "--usd-per-day"),
            _dollars(usd_per_month, "--usd-per-month"),
        )
        until = None if expires is None else now + _seconds(expires, "--expires")
        with KeyStore(_path(config, store)) as keys:
            key = keys.create(_name(name), secret, limits, now=now, expires=until)
            _show(key, secret, keys.path, as_json=as_json)
    except ConsilienceError as exc:
        return report(exc)
    return OK


def list_keys(*, config: Path | None, store: Path | None, as_json: bool) -> int:
    """Lists every key; gives the exit code."""
    now = _now()
    today = datetime.fromtimestamp(now, UTC).date()
    try:
        path = _path(config, store)
        records: list[VirtualKey] = []
        spend: Mapping[tuple[str, str], Decimal] = {}
        if is_there(path):
            with KeyStore(path) as keys:
                records = keys.records()
                spend = keys.spend_since(today.replace(day=1).isoformat())
    except ConsilienceError as exc:
        return report(exc)
    entries = [{**key.as_body(now), **_spent(spend, key.id, today.isoformat())} for key in records]
    if as_json:
        out.print(encode(entries).decode())
        return OK
    if entries:
        (out if out.is_terminal else piped).print(_table(entries))
    total = _spent(spend, EVERYTHING, today.isoformat())
    err.print(
        f"{plain(str(path))}: {len(entries)} key{'s' if len(entries) != 1 else ''};"
        f" all requests spent ${total['spent_today_usd']} today,"
        f" ${total['spent_this_month_usd']} this month (UTC)"
    )
    return OK


def revoke(*, name: str, config: Path | None, store: Path | None) -> int:
    """Ends a key; gives the exit code."""
    try:
        with KeyStore(_path(config, store)) as keys:
            key = keys.revoke(name, now=_now())
    except ConsilienceError as exc:
        return report(exc)
    err.print(f"revoked {plain(key.name)} ({key.id})")
    return OK


def rotate(
    *,
    name: str,
    grace: str | None,
    end_former: bool,
    config: Path | None,
    store: Path | None,
    as_json: bool,
) -> int:
    """Replaces a key and shows the new one; gives the exit code."""
    secret = new_secret()
    try:
        grace_s = 0 if grace is None else _seconds(grace, "--grace")
        with KeyStore(_path(config, store)) as keys:
            key = keys.rotate(name, secret, now=_now(), grace_s=grace_s, end_former=end_former)
            _show(key, secret, keys.path, as_json=as_json)
    except ConsilienceError as exc:
        return report(exc)
    return OK


def _show(key: VirtualKey, secret: Secret, path: Path, *, as_json: bool) -> None:
    """Shows a key, the one time that it is shown: alone on standard output."""
    if as_json:
        out.print(encode({"id": key.id, "name": key.name, "key": secret.text}).decode())
        return
    out.print(secret.text)
    err.print(f"{plain(key.name)} ({key.id}) in {plain(str(path))}; it is not shown again")


def _table(entries: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("name", "id", "key", "status", "expires", "may use", "spent today", "this month"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        expires = entry["expires"]
        table.add_row(
            plain(entry["name"]),
            entry["id"],
            entry["key"],
            entry["status"],
            "" if expires is None else f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%d %H:%M}",
            plain(_limits(entry)),
            f"${entry['spent_today_usd']}",
            f"${entry['spent_this_month_usd']}",
        )
    return table


def _limits(entry: Mapping[str, Any]) -> str:
    models = entry["models"]
    told = ["all models" if models is None else ", ".join(models)]
    for field, words in _LIMIT_WORDS.items():
        if entry[field] is not None:
            told.append(words.format(entry[field]))
    return "; ".join(told)


_LIMIT_WORDS = {
    "requests_per_minute": "{} requests a minute",
    "tokens_per_minute": "{} tokens a minute",
    "usd_per_day": "${} a day",
    "usd_per_month": "${} a month",
}


def _spent(spend: Mapping[tuple[str, str], Decimal], account: str, today: str) -> dict[str, str]:
    month = sum((usd for (of, _), usd in spend.items() if of == account), Decimal(0))
    return {
        "spent_today_usd": format(spend.get((account, today), Decimal(0)), "f"),
        "spent_this_month_usd": format(month, "f"),
    }


def _path(config: Path | None, store: Path | None) -> Path:
    """The file of keys: the one named, else the configuration's, else the user's."""
    if store is not None:
        return store
    found = named_config(config)
    return default_store() if found is None else store_of(found.config)


def _name(text: str) -> str:
    name = text.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequestError(f"a key's name has 1 to {_LONGEST_NAME} printable characters")
    return name


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InvalidRequestError("--models names no model; leave it out to allow all")
    return names


def _dollars(text: str | None, option: str) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= 1_000_000_000:
        raise InvalidRequestError(
            f"{option} must be an amount of dollars such as 2.50, not {text!r}"
        )
    return amount


def _seconds(text: str, option: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([mhd])", text.strip())
    seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_S:
        raise InvalidRequestError(f"{option} must be a time such as 90m, 12h or 30d, not {text!r}")
    return seconds


def _now() -> int:
    return int(time.time())  # noqa: TID251  # keys expire on a calendar
