"""Places: what all requests together may have in flight."""

from __future__ import annotations

import pytest

from consilience.admission import Places
from consilience.errors import OverloadedError


def test_places_come_back_however_a_request_ends() -> None:
    places = Places(most=3)

    with pytest.raises(ValueError, match="broken"), places.taking(2):
        raise ValueError("broken")

    assert places.taken == 0


def test_request_without_room_is_turned_away_and_takes_nothing() -> None:
    places = Places(most=3)

    with places.taking(2):
        with pytest.raises(OverloadedError), places.taking(2):
            raise AssertionError("it was let in")
        assert places.taken == 2


def test_wide_request_is_let_in_alone_and_answers_in_hand_beside_it() -> None:
    places = Places(most=3)

    with places.taking(8), places.taking(0):
        assert places.taken == 8
