"""`consilience doctor`: everything the gateway needs, looked at without spending anything."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import aiohttp
import anyio
from yarl import URL

from ..backends import local_models
from ..chat.codec import encode
from ..config.providers import BackendRef
from ..config.root import Config
from ..errors import ConfigError
from ..upstream.http import new_session
from ..upstream.local import is_installed
from ..upstream.weights import CATALOG, is_pulled
from .console import out, plain
from .exit_codes import FAILED, OK
from .serve import bind
from .setup import NO_FILE, find_config

Verdict = Literal["ok", "warning", "problem"]
_MARKS = {"ok": "ok ", "warning": "!  ", "problem": "x  "}
_ENOUGH_FILES = 4096
_PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str
    fix: str | None = None


def doctor(*, config: Path | None, as_json: bool) -> int:
    """Examines and prints; gives 1 when something is a problem."""
    findings = anyio.run(_examine, config)
    bad = any(f.verdict == "problem" for f in findings)
    if as_json:
        out.print(encode({"ok": not bad, "findings": [asdict(f) for f in findings]}).decode())
    else:
        for finding in findings:
            out.print(plain(f"{_MARKS[finding.verdict]} {finding.what}: {finding.detail}"))
            if finding.fix:
                out.print(plain(f"     -> {finding.fix}"))
    return FAILED if bad else OK


async def _examine(path: Path | None) -> Sequence[Finding]:
    findings = [*_installation(), *_open_files()]
    try:
        config = (await find_config(path)).config
    except ConfigError as exc:
        count, first = len(exc.problems), exc.problems[0]
        detail = first.message if count == 1 else f"{count} problems; the first: {first.message}"
        fix = first.suggestion if exc.source == NO_FILE else f"consilience check {exc.source}"
        findings.append(Finding("configuration", "problem", detail, fix))
        return [*findings, _local_models(None)]
    findings.append(_configuration(config))
    findings.append(_local_models(config))
    findings.append(_port(config))
    findings.extend(await _backends(config))
    return findings


def _installation() -> Sequence[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    found = [Finding("python", "ok", f"{python}, consilience {version('consilience')}")]
    for package in ("uvloop", "httptools"):
        try:
            found.append(Finding(package, "ok", version(package)))
        except PackageNotFoundError:
            fix = f"pip install {package}"
            found.append(Finding(package, "warning", "not installed; slower without it", fix))
    return found


def _open_files() -> Sequence[Finding]:
    if sys.platform == "win32":  # has no such limit
        return ()
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= _ENOUGH_FILES or soft == resource.RLIM_INFINITY:
        limit = "none" if soft == resource.RLIM_INFINITY else soft
        return [Finding("open files", "ok", f"limit {limit}")]
    detail = f"limit {soft}; every upstream call in flight needs one"
    return [Finding("open files", "warning", detail, f"ulimit -n {_ENOUGH_FILES * 4}")]


def _configuration(config: Config) -> Finding:
    if not config.warnings:
        return Finding("configuration", "ok", config.source)
    count = len(config.warnings)
    detail = f"{config.source}, {count} warning{'s' if count != 1 else ''}"
    return Finding("configuration", "warning", detail, f"consilience check {config.source}")


def _local_models(config: Config | None) -> Finding:
    """Judges what of the local models is there by what the configuration needs."""
    what = "local models"
    pulled = {weights.name for weights in CATALOG if is_pulled(weights)}
    needed = local_models(config) if config is not None else frozenset[str]()
    if needed and not is_installed():
        return Finding(what, "problem", "the extra is missing", "pip install 'consilience[local]'")
    if missing := needed - pulled:
        fix = "; ".join(f"consilience models pull {name}" for name in sorted(missing))
        return Finding(what, "problem", f"not here: {', '.join(sorted(missing))}", fix)
    if not is_installed():
        return Finding(what, "ok", "the extra is not installed (it is optional)")
    if not pulled:
        return Finding(what, "ok", "none is here, and none is needed")
    return Finding(what, "ok", ", ".join(sorted(pulled)))


def _port(config: Config) -> Finding:
    listener = config.listeners[0]
    try:
        bind(listener.address, listener.port).close()
    except (OSError, ValueError) as exc:
        detail = f"{listener.address}:{listener.port}: {getattr(exc, 'strerror', None) or exc}"
        return Finding("port", "warning", detail, "consilience serve --port N")
    return Finding("port", "ok", f"{listener.address}:{listener.port} is free")


async def _backends(config: Config) -> Sequence[Finding]:
    """Asks every backend for its list of models: that costs nothing and tests address and key."""
    findings: dict[int, Finding] = {}
    async with new_session() as session, anyio.create_task_group() as group:
        position = 0
        for model in config.providers.models:
            for ref in model.backend_refs:
                if not ref.is_local:
                    group.start_soon(_probe, session, model.name, ref, findings, position)
                    position += 1
    return [findings[i] for i in sorted(findings)]


async def _probe(
    session: aiohttp.ClientSession,
    model: str,
    ref: BackendRef,
    findings: dict[int, Finding],
    position: int,
) -> None:
    what = f"model {model}" + (f" ({ref.name})" if ref.name else "")
    url = URL(ref.chat_url.removesuffix("/chat/completions") + "/models")
    timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
    try:
        async with session.get(
            url, headers=ref.request_headers(), timeout=timeout, allow_redirects=False
        ) as response:
            findings[position] = _judged(what, response.status, ref)
    except TimeoutError:
        findings[position] = Finding(what, "problem", "does not answer in time", _ADDRESS)
    except (aiohttp.ClientError, OSError, ValueError):
        findings[position] = Finding(what, "problem", "cannot be connected to", _ADDRESS)


_ADDRESS = "is its server running, and its address in the file right?"


def _judged(what: str, status: int, ref: BackendRef) -> Finding:
    if status in (401, 403):
        fix = f"set {ref.api_key_env}" if ref.api_key_env else "give it an api_key_env"
        return Finding(what, "problem", "answers, but refuses the key", fix)
    if status >= 500:
        return Finding(what, "problem", f"answers with status {status}")
    return Finding(what, "ok", "answers" if status == 200 else f"answers (status {status})")
