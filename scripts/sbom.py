"""Looks whether a software bill of materials lists every package of a lock file, with its version.

Standard library only.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path


def locked(lock: str) -> dict[str, str]:
    """Gives version by name of the packages that a lock file pins."""
    return dict(re.findall(r"^([\w.-]+)==([\w.+!]+)", lock, re.MULTILINE))


def missing(bill: str, lock: str) -> list[str]:
    """Gives the packages, as `name version`, that a CycloneDX document does not list.

    Raises:
        ValueError: it is none.
    """
    document = json.loads(bill)
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise ValueError("not a CycloneDX document")
    listed = {(_plain(c["name"]), c.get("version")) for c in document.get("components", ())}
    packages = locked(lock).items()
    return [
        f"{name} {version}" for name, version in packages if (_plain(name), version) not in listed
    ]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives 0 when all is listed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bill", type=Path)
    parser.add_argument("lock", type=Path)
    told = parser.parse_args(arguments)
    try:
        absent = missing(told.bill.read_text("utf-8"), told.lock.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        print(f"sbom: {told.bill} cannot be read: {exc}", file=sys.stderr)
        return 1
    for package in absent:
        print(f"sbom: {package} of {told.lock} is not in {told.bill}", file=sys.stderr)
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
