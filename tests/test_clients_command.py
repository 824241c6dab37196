"""What `python -m benchmarks.clients` measures, and what it takes for too much."""

from __future__ import annotations

import pytest
from benchmarks.clients import (
    CLIENTS,
    FAILURES,
    SHORT,
    Client,
    Cost,
    measure,
    openai_python,
    table,
    too_much,
)

from clients.live_gateway import LiveGateway
from clients.model_server import ModelServer
from clients.scenario import CONFIG, FUSION, PLAIN, SCRIPT
from consilience.config import parse_config

MEEK, STUBBORN = CLIENTS[0], Client("stubborn", openai_python, heeds=False)


def test_requests_and_calls_of_a_failing_call_are_counted() -> None:
    with ModelServer(SCRIPT) as models:
        text = (CONFIG + SHORT).format(port=models.port, stream_start_seconds=5)
        with LiveGateway(parse_config(text)) as gateway:
            costs = [
                measure(MEEK, FAILURES[failure], model, models, gateway)
                for failure, model in (("503", PLAIN), ("timeout", FUSION), ("cut stream", PLAIN))
            ]
    assert costs == [Cost(1, 3), Cost(1, 2), Cost(1, 1)]


def test_a_client_that_takes_a_failure_for_an_answer_is_told() -> None:
    deaf = Client("deaf", lambda *_: None)
    with ModelServer(SCRIPT) as models:
        text = (CONFIG + SHORT).format(port=models.port, stream_start_seconds=5)
        with (
            LiveGateway(parse_config(text)) as gateway,
            pytest.raises(RuntimeError, match="deaf took a failure for an answer"),
        ):
            measure(deaf, FAILURES["500"], PLAIN, models, gateway)


@pytest.mark.parametrize(
    ("client", "failure", "model", "cost", "is_too_much"),
    [
        (MEEK, "500", PLAIN, Cost(1, 3), False),
        (MEEK, "500", PLAIN, Cost(2, 6), True),
        (MEEK, "500", PLAIN, Cost(1, 4), True),
        (MEEK, "429", PLAIN, Cost(3, 9), False),
        (MEEK, "429", PLAIN, Cost(4, 12), True),
        (MEEK, "503", FUSION, Cost(1, 6), False),
        (MEEK, "503", FUSION, Cost(1, 7), True),
        (MEEK, "cut stream", FUSION, Cost(1, 4), False),
        (MEEK, "cut stream", FUSION, Cost(1, 5), True),
        (STUBBORN, "500", PLAIN, Cost(12, 36), False),
        (STUBBORN, "500", PLAIN, Cost(3, 10), True),
    ],
)
def test_what_is_too_much(
    client: Client, failure: str, model: str, cost: Cost, is_too_much: bool
) -> None:
    assert too_much(client, FAILURES[failure], model, cost) is is_too_much


def test_the_table_has_a_column_a_failure() -> None:
    costs = [Cost(1, number) for number in range(1, 1 + len(FAILURES))]
    head, row = table([("some client", "m", costs)])
    assert head.split()[-6:] == ["500", "429", "503", "timeout", "cut", "stream"]
    assert row.split("  ")[-1].strip() == "1 → 5"
    assert len(head) >= len(row) > 60
