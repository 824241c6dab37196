"""Requests of every shape against the real server, made from its own OpenAPI document.

`scripts/fuzz` (or `make fuzz`) runs it with schemathesis from an environment of its own.
`python -m benchmarks.fuzz PATH/TO/st [--examples 200] [--seed 1]`

Once with the document as it is, and once narrowed to names that are served and to messages that say
something: nearly every request would end at "no such model" otherwise. Ends with 1 for an answer of
500 or above, a status or a body that the document does not have, a request that is answered though
the document forbids it, or one without a key that is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from .stand import Delays, Setup, stand_of

KEY = "sk-fuzz"
AT_ONCE = Delays(panel=0, judge=0, synthesis=0, chunks=2, gap=0)
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)


REFUSES = "negative_data_rejection"
"""Of the document as it is: the narrowed one forbids what the server allows."""


def fetched(url: str) -> Any:
    """Gives the JSON at an address."""
    request = Request(url, headers={"authorization": f"Bearer {KEY}"})  # noqa: S310  # our own
    with urlopen(request, timeout=10) as response:  # noqa: S310  # our own server
        return json.load(response)


def narrowed(document: dict[str, Any], models: list[str]) -> dict[str, Any]:
    """Gives the document with the served names as the only ones, plugins that exist, and texts."""
    schemas = document["components"]["schemas"]
    said = {"type": "string", "pattern": "^[a-zA-Z]"}
    schemas["Message"]["properties"]["content"] = said
    schemas["Message"]["required"] = ["role", "content"]
    chat = schemas["ChatRequest"]["properties"]
    chat["model"] = {"enum": models}
    chat["plugins"]["items"]["properties"]["id"] = {"enum": ["fusion", "web", "response_cache"]}
    schemas["EvalRequest"]["properties"]["model"] = {"enum": [*models, None]}
    return document


def main() -> int:
    """Runs schemathesis on the document as it is, then narrowed; gives 1 when it found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("st", help="the command of schemathesis")
    parser.add_argument("--examples", type=int, default=200, help="at most, of each operation")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    failed = False
    setup = Setup(panel=2, delays=AT_ONCE, key=KEY)
    with stand_of(setup) as at, tempfile.TemporaryDirectory() as folder:
        document = fetched(f"{at.gateway}/openapi.json")
        models = [model["id"] for model in fetched(f"{at.gateway}/v1/models")["data"]]
        for name, checks in (("as it is", (*CHECKS, REFUSES)), ("narrowed", CHECKS)):
            file = Path(folder) / "openapi.json"
            file.write_text(json.dumps(document))
            print(f"== the document {name}", flush=True)
            command = [given.st, "--no-color", "run", str(file), "--url", at.gateway]
            command += ["--checks", ",".join(checks), "--max-examples", str(given.examples)]
            command += ["--header", f"Authorization: Bearer {KEY}"]
            command += ["--seed", str(given.seed), "--request-timeout", "20"]
            command += ["--generation-database", "none", "--max-failures", "20"]
            done = subprocess.run(command, cwd=folder, check=False)  # noqa: S603  # our own
            failed |= done.returncode != 0
            document = narrowed(document, models)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
