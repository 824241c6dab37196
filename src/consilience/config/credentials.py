"""Keys of backends, from the environment or a file, read once when a configuration is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath

from pydantic import SecretStr

from ..signals.embedding import Endpoint
from .external import External
from .paths import Finding, Path
from .providers import BackendRef
from .root import Config

_LONGEST_KEY = 64 * 1024


def resolve_keys(
    config: Config, environ: Mapping[str, str], base_dir: FilePath | None
) -> Iterator[Finding]:
    """Gives every backend its key; says where there is none. Keys never stand in a finding.

    Args:
        config: a configuration that nobody else has yet: its backends are completed in place.
        environ: where `api_key_env` is looked up.
        base_dir: what `api_key_file` is relative to; the working directory when None.
    """
    unset: dict[str, list[Path]] = {}
    for i, model in enumerate(config.providers.models):
        for j, ref in enumerate(model.backend_refs):
            path: Path = ("providers", "models", i, "backend_refs", j)
            if ref.api_key_env is not None:
                yield from _from_environment(ref, path, environ, unset)
            elif ref.api_key_file is not None:
                yield from _from_file(ref, path, base_dir)
    helpers: Path = ("global", "model_catalog")
    endpoint = config.global_.semantic.endpoint
    if endpoint is not None and endpoint.api_key_env is not None:
        here: Path = (*helpers, "embeddings", "semantic", "endpoint", "api_key_env")
        yield from _of_helper(endpoint, endpoint.api_key_env, here, environ, unset)
    for i, helper in enumerate(config.global_.helpers):
        if helper.access_key_env is not None:
            here = (*helpers, "external", i, "access_key_env")
            yield from _of_helper(helper, helper.access_key_env, here, environ, unset)
    for name, places in unset.items():
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        yield Finding(
            places[0],
            f"the environment variable {name} is not set: this backend{more} will refuse calls"
            " for want of a key",
            f"set {name} before starting",
            warning=True,
        )


def _from_environment(
    ref: BackendRef, path: Path, environ: Mapping[str, str], unset: dict[str, list[Path]]
) -> Iterator[Finding]:
    name = ref.api_key_env or ""
    key = environ.get(name, "").strip()
    if key:
        yield from _take(ref, key, (*path, "api_key_env"), f"the key in {name}")
    else:
        unset.setdefault(name, []).append((*path, "api_key_env"))


def _of_helper(
    helper: Endpoint | External,
    name: str,
    path: Path,
    environ: Mapping[str, str],
    unset: dict[str, list[Path]],
) -> Iterator[Finding]:
    key = environ.get(name, "").strip()
    if key:
        yield from _take(helper, key, path, f"the key in {name}")
    else:
        unset.setdefault(name, []).append(path)


def _from_file(ref: BackendRef, path: Path, base_dir: FilePath | None) -> Iterator[Finding]:
    given, here = ref.api_key_file or "", (*path, "api_key_file")
    try:
        with ((base_dir or FilePath()) / given).open("rb") as file:
            key = file.read(_LONGEST_KEY + 1).decode().strip()
    # A path with a NUL is a ValueError, and so is a file that is not text.
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
        yield Finding(here, f'the key file "{given}" {reason}')
        return
    if not key or len(key) > _LONGEST_KEY:
        yield Finding(here, f'the key file "{given}" {"is empty" if not key else "is too long"}')
        return
    yield from _take(ref, key, here, f'the key in "{given}"')


def _take(
    ref: BackendRef | Endpoint | External, key: str, path: Path, what: str
) -> Iterator[Finding]:
    if any(not 32 < ord(c) < 256 or ord(c) == 127 for c in key):
        yield Finding(path, f"{what} has characters that cannot stand in an HTTP header")
    else:
        ref._key = SecretStr(key)  # noqa: SLF001  # set once, before anyone has it
