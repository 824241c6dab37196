"""What is installed is chosen one by one, held by hash, and looked up in the advisories."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scripts import sbom
from scripts.advisories import Report, main, read_report, verdict

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
PROJECT: dict[str, Any] = tomllib.loads(PYPROJECT)["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
MOST_DIRECT = 26
"""Dependencies of a user's installation that this project chose itself; raise it for a reason."""


class Pinned(NamedTuple):
    """One entry of a lock file."""

    name: str
    version: str
    hashes: tuple[str, ...]


def entries(text: str) -> Iterator[str]:
    """The entries of a lock file without comments, each on one line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return (entry for entry in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines() if entry)


def pinned(lock: Path) -> dict[str, Pinned]:
    found = {}
    for entry in entries(lock.read_text("utf-8")):
        match = re.fullmatch(
            r"([\w.-]+)==([\w.+!]+)(?: ;[^\\]+?)?((?: --hash=sha256:[0-9a-f]{64})+)", entry
        )
        assert match, f"{lock.name}: neither exact nor hashed: {entry[:80]}"
        hashes = tuple(match[3].split(" --hash=sha256:")[1:])
        found[match[1]] = Pinned(match[1], match[2], hashes)
    return found


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_line_of_a_lock_is_exact_and_has_hashes(lock: Path) -> None:
    assert len(pinned(lock)) > 1


def test_what_users_install_is_what_was_tested() -> None:
    run = pinned(ROOT / "requirements" / "run.lock")
    dev = pinned(ROOT / "requirements" / "dev.lock")

    assert {name: entry for name, entry in run.items() if dev.get(name) != entry} == {}


def test_every_direct_dependency_is_in_its_lock() -> None:
    run = pinned(ROOT / "requirements" / "run.lock").keys()
    dev = pinned(ROOT / "requirements" / "dev.lock").keys()

    assert names(PROJECT["dependencies"] + EXTRAS["local"]) - run == set()
    assert names([text for extra in EXTRAS.values() for text in extra]) - dev == set()


def test_every_direct_dependency_has_a_reason() -> None:
    lines = PYPROJECT.splitlines()
    silent = []
    for text in (*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)):
        [at] = [i for i, line in enumerate(lines) if f'"{text}"' in line]
        same, above = lines[at].partition(f'"{text}"')[2], lines[at - 1]
        alone = "[" in lines[at].partition('"')[0]  # an extra's only one has its reason above
        if not re.search(r"# \w", above if alone else same):
            silent.append(text)

    assert silent == []


def test_direct_dependencies_are_few() -> None:
    assert len(PROJECT["dependencies"]) <= MOST_DIRECT


def write(folder: Path, lock: str, service: str, packages: list[dict[str, Any]] | None) -> None:
    """Writes what `scripts/audit` leaves of one question; without packages: no answer."""
    (folder / f"{lock}.{service}.log").write_text("")
    if packages is not None:
        report = {"dependencies": packages, "fixes": []}
        (folder / f"{lock}.{service}.json").write_text(json.dumps(report))


GOOD = {"name": "anyio", "version": "4.10.0", "vulns": []}
BAD = {
    "name": "aiohttp",
    "version": "3.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1"], "aliases": [], "description": "d"}],
}
SKIPPED = {"name": "rich", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "codes", "said"),
    [
        ([GOOD], (0, 0), "run.lock: 1 packages, no advisory (pypi)"),
        ([GOOD, BAD], (1, 1), "run.lock: aiohttp 3.0: PYSEC-1, fixed in 3.1"),
        ([SKIPPED], (0, 1), "run.lock: COULD NOT CHECK its packages; no answer from: pypi"),
        (
            [GOOD, SKIPPED],
            (0, 1),
            "run.lock: COULD NOT CHECK 1 of 2 packages; no answer from: pypi",
        ),
        ([BAD, SKIPPED], (1, 1), "run.lock: COULD NOT CHECK 1 of 2 packages; no answer from: pypi"),
        (None, (0, 1), "run.lock: COULD NOT CHECK its packages; no answer from: pypi"),
        ([], (0, 1), "run.lock: COULD NOT CHECK its packages; no answer from: pypi"),
    ],
)
def test_an_audit_says_what_was_found_and_what_was_not_looked_up(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    packages: list[dict[str, Any]] | None,
    codes: tuple[int, int],
    said: str,
) -> None:
    write(tmp_path, "run", "pypi", packages)

    assert (main([str(tmp_path)]), main(["--strict", str(tmp_path)])) == codes
    assert f"audit: requirements/{said}" in capsys.readouterr().err.splitlines()


def test_the_second_service_stands_in_for_the_first(tmp_path: Path) -> None:
    write(tmp_path, "run", "pypi", [SKIPPED])
    write(tmp_path, "run", "osv", [GOOD])
    first = str(tmp_path / "run.pypi.json")

    assert main(["--complete", first]) == 1
    assert main(["--strict", str(tmp_path)]) == 0


def test_a_report_that_is_broken_has_looked_up_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.pypi.json").write_text('{"dependencies": [')

    assert read_report(tmp_path / "run.pypi.json") == Report("run", "pypi")
    assert verdict([], strict=False)[1] == 1


RUN = ROOT / "requirements" / "run.lock"


def bill_of(packages: dict[str, str]) -> str:
    components = [{"type": "library", "name": n, "version": v} for n, v in packages.items()]
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": components})


def test_a_bill_of_everything_that_users_install_is_whole(tmp_path: Path) -> None:
    run = {entry.name: entry.version for entry in pinned(RUN).values()}
    bill = tmp_path / "sbom.json"
    bill.write_text(bill_of({name.upper().replace("-", "_"): v for name, v in run.items()}))

    assert sbom.locked(RUN.read_text("utf-8")) == run
    assert sbom.main([str(bill), str(RUN)]) == 0


@pytest.mark.parametrize("version", [None, "0.0.1"])
def test_a_bill_that_lacks_one_package_or_its_version_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str | None
) -> None:
    run = {entry.name: entry.version for entry in pinned(RUN).values()}
    absent = run.pop("aiohttp")
    bill = tmp_path / "sbom.json"
    bill.write_text(bill_of({**run, "aiohttp": version} if version else run))

    assert sbom.main([str(bill), str(RUN)]) == 1
    assert f"sbom: aiohttp {absent} of {RUN}" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bomFormat": "CycloneDX", "components": [{}]}'])
def test_what_is_no_bill_is_refused(tmp_path: Path, text: str) -> None:
    bill = tmp_path / "sbom.json"
    bill.write_text(text)

    assert sbom.main([str(bill), str(RUN)]) == 1


def test_the_audit_looks_at_the_bill_that_it_writes() -> None:
    audit = (ROOT / "scripts" / "audit").read_text("utf-8")

    assert "scripts/sbom.py dist/sbom.json requirements/run.lock || status=1" in audit
