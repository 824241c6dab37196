"""What is published holds the package and nothing else, and can be built again byte for byte.

Malicious releases of other gateways differed from their repository in the wheel alone; a file that
runs at every start of Python (`.pth`) was enough.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "consilience"
MOST_BYTES = 8 << 20
"""Of the wheel, and of the source archive: the index refuses nothing below 100 MiB, users do."""
_VERSION = r"consilience-\d+\.\d+\.\d+[a-z0-9.]*"
_INFO = rf"{_VERSION}\.dist-info"
EXPECTED = re.compile(
    r"consilience/(?:[a-z_]+/)*(?:[a-z0-9_]+\.py|py\.typed)"
    r"|consilience/signals/examples/[a-z_]+\.jsonl"
    r"|consilience/signals/weights/[a-z_]+\.[a-z0-9-]+\.npz"
    rf"|{_INFO}/(?:METADATA|WHEEL|RECORD|entry_points\.txt|licenses/LICENSE)"
)
SOURCE_FOLDERS = ("src", "tests", "docs", "examples")
SOURCE_FILES = ("CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", ".gitignore")
NEVER = re.compile(
    r"\.(?:pth|py[cod]|so|dll|dylib|exe|sh|egg|whl|zip|gz)$"
    r"|(?:^|/)(?:__pycache__|\.venv|\.git|node_modules|\.env|\.[a-z_]+_cache|\.hypothesis)(?:/|$)"
)


@dataclass(frozen=True, slots=True)
class Built:
    """The two files of one build."""

    wheel: Path
    sources: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(ROOT, tmp_path_factory.mktemp("built"))


def build(root: Path, into: Path) -> Built:
    """Builds both files, of the time that `SOURCE_DATE_EPOCH` says."""
    subprocess.run(  # noqa: S603  # our own build
        [sys.executable, "-m", "hatchling", "build", "--directory", str(into)],
        cwd=root,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
        check=True,
        capture_output=True,
        timeout=60,
    )
    [wheel], [sources] = into.glob("*.whl"), into.glob("*.tar.gz")
    return Built(wheel, sources)


@contextmanager
def opened(built: Built) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(built.wheel) as wheel:
        yield wheel


def is_below(path: str) -> bool:
    """Whether unpacking this path stays inside the folder it is unpacked to."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and not re.search(r"[\\:]", path)


def test_the_wheel_holds_expected_paths_only(built: Built) -> None:
    with opened(built) as wheel:
        names = wheel.namelist()

    assert [n for n in names if not EXPECTED.fullmatch(n)] == []
    assert [n for n in names if NEVER.search(n) or not is_below(n)] == []
    assert len(set(names)) == len(names)


def test_the_wheel_holds_every_file_of_the_package(built: Built) -> None:
    files = {
        f"consilience/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and not path.name.startswith(".") and "__pycache__" not in path.parts
    }
    with opened(built) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("consilience/")}

    assert packed == files
    assert len([f for f in files if f.endswith(".jsonl")]) >= 5
    assert len([f for f in files if f.endswith(".npz")]) >= 5


def test_the_wheel_runs_on_any_machine_and_starts_one_command(built: Built) -> None:
    with opened(built) as wheel:
        text = {PurePosixPath(n).name: n for n in wheel.namelist() if ".dist-info/" in n}
        about, points = wheel.read(text["WHEEL"]).decode(), wheel.read(text["entry_points.txt"])
        modes = {info.filename: info.external_attr >> 16 for info in wheel.infolist()}

    assert "Root-Is-Purelib: true" in about
    assert "Tag: py3-none-any" in about
    assert points.decode().split("\n") == [
        "[console_scripts]",
        "consilience = consilience.cli:main",
        "",
    ]
    assert [
        name for name, mode in modes.items() if mode & 0o7133 or mode & 0o170000 == 0o120000
    ] == []


def test_the_wheel_s_record_names_every_file_with_its_hash(built: Built) -> None:
    with opened(built) as wheel:
        [record] = [n for n in wheel.namelist() if n.endswith("/RECORD")]
        rows = {row[0]: row for row in csv.reader(wheel.read(record).decode().splitlines())}
        hashes = {n: hashlib.sha256(wheel.read(n)).digest() for n in wheel.namelist()}

    assert rows.keys() == hashes.keys()
    for name in rows.keys() - {record}:
        digest = base64.urlsafe_b64encode(hashes[name]).rstrip(b"=").decode()
        assert rows[name][1] == f"sha256={digest}"


def test_the_sources_hold_expected_paths_only(built: Built) -> None:
    with tarfile.open(built.sources) as sources:
        members = sources.getmembers()
    names = [member.name for member in members]
    inside = [name.partition("/")[2] for name in names]

    assert [n for n in names if not re.match(rf"{_VERSION}/", n) or not is_below(n)] == []
    assert {n.split("/")[0] for n in inside} == {*SOURCE_FOLDERS, *SOURCE_FILES, "PKG-INFO"}
    assert [n for n in inside if NEVER.search(n)] == []
    assert [m.name for m in members if not m.isfile() or m.mode & 0o7133] == []


def test_both_files_are_small(built: Built) -> None:
    sizes = [path.stat().st_size for path in (built.wheel, built.sources)]

    assert [size for size in sizes if not 1 << 20 < size < MOST_BYTES] == []


def test_built_again_elsewhere_both_files_are_the_same_bytes(built: Built, tmp_path: Path) -> None:
    elsewhere, names = tmp_path / "elsewhere", (*SOURCE_FOLDERS, *SOURCE_FILES)
    elsewhere.mkdir()
    for name in reversed(names):
        copy(ROOT / name, elsewhere / name)

    again = build(elsewhere, tmp_path / "again")

    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    assert again.sources.read_bytes() == built.sources.read_bytes()


def copy(source: Path, target: Path) -> None:
    """Copies a file or folder without its times, and with modes of its own."""
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    if source.is_dir():
        shutil.copytree(source, target, ignore=ignored, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target)
        target.chmod(0o600)


def test_the_wheel_works_where_it_is_installed(built: Built, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "--isolated", "install"]
    command += ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    run(*command, str(built.wheel))

    where = run(str(python), "-c", "import consilience; print(consilience.__file__)")
    told = run(str(home / "bin" / "consilience"), "--help")

    assert Path(where.strip()).is_relative_to(home)
    assert "serve" in told
    assert [p.name for p in home.rglob("*.pth")] == []


def run(*command: str) -> str:
    """Runs a command with this environment's packages, but not with this checkout."""
    packages = sysconfig.get_path("purelib")
    done = subprocess.run(  # noqa: S603  # our own commands
        command,
        cwd="/",
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": packages},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
