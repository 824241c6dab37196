"""F33: where metrics go is down, slow, or gone in the middle: nobody waits for it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

from consilience.upstream.scripted import ScriptedUpstream
from support.client import ask, eventually, opened
from support.live import fusion_yaml, live_gateway
from support.metrics import scraped
from support.scripts import fusion_script

FUSION = "vllm-sr/fusion"
SCRAPE = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
AHEAD = 10
"""Scrapes asked for on one connection before any is read."""
UNREAD = 40


def test_F33_a_slow_or_vanished_scraper_holds_up_nobody() -> None:  # noqa: N802  # named after the fault
    with (
        live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url,
        ExitStack() as open_,
    ):
        address = urlsplit(url)
        before = scraped(url).value("requests_total", path="/metrics")
        for _ in range(UNREAD):
            slow = open_.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect((address.hostname, address.port))
            slow.sendall(SCRAPE * AHEAD)
        for _ in range(UNREAD):
            with socket.create_connection((address.hostname, address.port)) as gone:
                gone.sendall(SCRAPE)
        assert ask(url, FUSION).status == 200
        with opened(url, FUSION) as stream:
            assert list(stream.data())[-1] == "[DONE]"
        # each unread one got its first answer, and those who went were not waited for
        asked = UNREAD + 1
        assert eventually(
            lambda: scraped(url).value("requests_total", path="/metrics") >= before + asked
        )


def test_F33_nobody_scrapes() -> None:  # noqa: N802  # named after the fault
    """What is counted is held in memory of a fixed size, whoever never asks for it."""
    with live_gateway(fusion_yaml(), ScriptedUpstream(fusion_script())) as url:
        ask(url, FUSION)
        before = len(scraped(url).samples)
        for _ in range(50):
            assert ask(url, FUSION).status == 200
        assert len(scraped(url).samples) <= before + 20  # buckets that had nothing before
