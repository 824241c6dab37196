"""A process that can open no more files fails its calls, and does not lay that on their backends."""

from __future__ import annotations

import http.client
import json
import re
import resource
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.client import get
from support.command import started, written
from support.raw_server import completion, json_answer, raw_server

MANY = 8
"""Failures in a row after which any backend would be ejected."""


def _first_free(pid: int) -> int:
    """The number that the next file of a process would have."""
    used = {int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in count() if number not in used)


@pytest.mark.skipif(sys.platform != "linux", reason="sets the limits of another process")
def test_calls_without_a_file_say_so_and_eject_nobody(tmp_path: Path) -> None:
    with raw_server([json_answer(completion("hi"))]) as models:
        ref = f"{{base_url: '{models.base_url}'}}"
        config = written(
            tmp_path,
            "version: v0.3\n"
            f"providers: {{models: [{{name: a, backend_refs: [{ref}, {ref}]}}]}}\n"
            "global: {gateway: {retry_base_seconds: 0.001}}\n",
        )
        with started("serve", "-c", config, "--port", 0, cwd=tmp_path) as process:
            url = process.said(r"url +(http://127\.0\.0\.1:\d+)/v1\n")[1]
            pid = process.process.pid
            with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)) as client:
                # one connection for all, since a new one would need a file
                ask = json.dumps({"model": "a", "messages": [{"role": "user", "content": "hi"}]})

                def asked() -> tuple[int, str]:
                    headers = {"content-type": "application/json"}
                    client.request("POST", "/v1/chat/completions", ask, headers)
                    response = client.getresponse()
                    return response.status, response.read().decode()

                client.connect()
                client.request("GET", "/health")
                assert client.getresponse().read()
                soft, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (_first_free(pid), most))
                for _ in range(MANY):
                    status, body = asked()
                    assert status == 502
                    assert "this gateway has no file or port left" in body
                assert models.requests == []
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, most))

                assert asked()[0] == 200
            told = get(url, "/metrics").body.decode()
            absences = re.findall(
                r"^consilience_backend_absences_total.* (\S+)$", told, re.MULTILINE
            )
            assert set(absences) <= {"0.0"}
