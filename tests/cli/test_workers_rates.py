"""Rates over several workers: a key's minute is one minute, whichever of them answers."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.client import ask, eventually, get
from support.command import started, written
from support.keys import bearer, keyed_yaml, made_key
from support.raw_server import completion, json_answer, raw_server

MOST = 12


def test_workers_together_let_in_no_more_than_the_rate(tmp_path: Path) -> None:
    keys = tmp_path / "keys.sqlite3"
    key = bearer(made_key(keys, requests_per_minute=MOST))
    other = bearer(made_key(keys, "other"))
    with raw_server([json_answer(completion("hi"))]) as models:
        text = keyed_yaml(keys, base_url=models.base_url, gateway="drain_seconds: 0")
        config = written(tmp_path, text)
        with started("serve", "-c", config, "--port", 0, "--workers", 2, cwd=tmp_path) as process:
            url = process.said(r"url +(http://127\.0\.0\.1:\d+)/v1\n")[1]
            assert eventually(
                lambda: {get(url, "/health").json["worker"] for _ in range(20)} == {1, 2}
            )
            with ThreadPoolExecutor(8) as threads:
                answers = list(threads.map(lambda _: ask(url, "a", key), range(3 * MOST)))
            assert Counter(answer.status for answer in answers) == {200: MOST, 429: 2 * MOST}
            refused = next(answer for answer in answers if answer.status == 429)
            assert 0 < int(refused.headers["retry-after"]) <= 61
            assert refused.headers["x-ratelimit-remaining-requests"] == "0"
            assert ask(url, "a", other).status == 200
            assert process.process.poll() is None
