from __future__ import annotations

from consilience.signals import SIGNALS, UNAVAILABLE


def test_kinds_and_keys_are_distinct_when_everything_is_counted() -> None:
    kinds = [*(signal.kind for signal in SIGNALS), *UNAVAILABLE]
    keys = [*(signal.config_key for signal in SIGNALS), *UNAVAILABLE.values()]
    assert len(set(kinds)) == len(kinds)
    assert len(set(keys)) == len(keys)
