"""Reads pip-audit's reports and says what they do not: whether anything was looked up at all.

pip-audit ends with 0 and "No known vulnerabilities found" when a service answers for none of the
packages. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """What one service said of one lock file."""

    lock: str
    service: str
    checked: tuple[str, ...] = ()
    """Packages it knows, as `name version`."""
    unchecked: tuple[str, ...] = ()
    """Packages it could not look up."""
    advisories: tuple[str, ...] = ()
    """`name version: id, fixed in …`"""

    @property
    def is_complete(self) -> bool:
        """Whether every package was looked up."""
        return bool(self.checked) and not self.unchecked


def read_report(path: Path) -> Report:
    """Reads `LOCK.SERVICE.json`; a report that is missing or broken has looked up nothing."""
    lock, service, _ = path.name.split(".")
    try:
        packages: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["dependencies"]
    except (OSError, ValueError, KeyError, TypeError):
        return Report(lock, service)
    skipped = [p for p in packages if "skip_reason" in p]
    known = [p for p in packages if "skip_reason" not in p]
    return Report(
        lock,
        service,
        checked=tuple(f"{p['name']} {p['version']}" for p in known),
        unchecked=tuple(p["name"] for p in skipped),
        advisories=tuple(line for p in known for line in _advisories(p)),
    )


def _advisories(package: dict[str, Any]) -> Iterator[str]:
    for found in package["vulns"]:
        fixed = ", ".join(found["fix_versions"]) or "no version yet"
        yield f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}"


def verdict(reports: Iterable[Report], *, strict: bool) -> tuple[list[str], int]:
    """Gives what to say, and the exit code: 1 for an advisory; if strict, also when one lock file
    was not looked up whole by any service.
    """
    by_lock: dict[str, list[Report]] = {}
    for report in reports:
        by_lock.setdefault(report.lock, []).append(report)
    lines, failed = [], False
    for lock, asked in sorted(by_lock.items()):
        best = max(asked, key=lambda r: len(r.checked))
        found = sorted({line for report in asked for line in report.advisories})
        name = f"requirements/{lock}.lock"
        if found:
            lines += [f"{name}: {line}" for line in found]
        elif best.is_complete:
            lines.append(f"{name}: {len(best.checked)} packages, no advisory ({best.service})")
        if not best.is_complete:
            most = len(best.checked) + len(best.unchecked)
            named = f"{len(best.unchecked)} of {most} packages" if best.checked else "its packages"
            services = ", ".join(sorted(r.service for r in asked))
            lines.append(f"{name}: COULD NOT CHECK {named}; no answer from: {services}")
        failed |= bool(found) or (strict and not best.is_complete)
    return lines, int(failed or not by_lock)


def main(arguments: list[str]) -> int:
    """Runs as a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path, help="a folder of LOCK.SERVICE.json, or one of them")
    parser.add_argument("--strict", action="store_true", help="fail when something was not checked")
    parser.add_argument("--complete", action="store_true", help="only tell, by the exit code")
    given = parser.parse_args(arguments)
    if given.complete:
        return int(not read_report(given.reports).is_complete)
    # a service that was not reached leaves no report, but a log
    reports = [read_report(log.with_suffix(".json")) for log in given.reports.glob("*.log")]
    lines, code = verdict(reports, strict=given.strict)
    print("\n".join(f"audit: {line}" for line in lines), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
