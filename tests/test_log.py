"""Log lines: one event, its fields, and nothing that a terminal or a parser would act on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest

from consilience.telemetry.log import configure, log, log_failure, request_id


@pytest.fixture(autouse=True)
def own_logger() -> Iterator[None]:
    """Leaves the logger as it was."""
    logger = logging.getLogger("consilience")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def test_a_text_line_has_the_event_and_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    log("request", status=200, ms=4, nothing=None, words="a b", quote='say "x"', empty="")
    line = capsys.readouterr().err
    assert line.endswith('info request status=200 ms=4 words="a b" quote="say \\"x\\"" empty=""\n')


@pytest.mark.parametrize("nasty", ["a\nb", "\x1b[31m", "\r", "\u202e", "\x00"])
def test_control_characters_never_reach_the_terminal(
    capsys: pytest.CaptureFixture[str], nasty: str
) -> None:
    configure()
    log("request", path=nasty)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert nasty not in line
    assert line.rstrip("\n").isprintable()


def test_a_json_line_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure(as_json=True)
    log("request", status=200, path="a\nb")
    body = json.loads(capsys.readouterr().err)
    assert (body["event"], body["status"], body["path"]) == ("request", 200, "a\nb")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_failure_comes_with_kind_and_place_and_not_with_its_words(
    capsys: pytest.CaptureFixture[str], form: Literal["text", "json"]
) -> None:
    configure(as_json=form == "json")
    try:
        try:
            raise KeyError("canary-1")
        except KeyError as cause:
            raise ZeroDivisionError("canary-2") from ExceptionGroup("canary-3", [cause])
    except ZeroDivisionError as exc:
        log_failure("internal_error", exc, id="req-1")
    line = capsys.readouterr().err
    assert "internal_error" in line
    assert "test_log.py" in line
    assert all(kind in line for kind in ("ZeroDivisionError", "ExceptionGroup", "KeyError"))
    assert "canary" not in line
    assert "req-1" in line


def test_levels_below_the_configured_one_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    configure(level=logging.WARNING)
    log("request")
    assert capsys.readouterr().err == ""


def test_the_request_at_work_is_named_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    token = request_id.set("req-7")
    log("upstream_failed", model="a")
    log("request", id="req-own")
    request_id.reset(token)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("upstream_failed id=req-7 model=a")
    assert second.endswith("request id=req-own")
