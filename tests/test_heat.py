"""A hot machine is waited for, and its rows say so."""

from __future__ import annotations

import pytest
from attnproto.sweep import worker


class Hot:
    """Tells of states one after another, the last for ever."""

    def __init__(self, *states: str):
        self.states = list(states)

    def conditions(self) -> dict[str, str]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"thermal": state, "power": "AC Power"}


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that only sleeping moves."""
    now = [100.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))


def test_a_hot_device_is_waited_for_once_it_was_said():
    said = []
    assert worker.cool_down(Hot("serious", "fair", "nominal"), lambda: said.append(1)) == 10.0
    assert said == [1]


def test_a_cool_device_and_one_that_tells_nothing_are_not_waited_for():
    said = []
    assert worker.cool_down(Hot("nominal"), lambda: said.append(1)) == 0.0
    silent = type("Silent", (), {"conditions": lambda self: {}})()
    for none in (silent, object()):  # of one's own, which need not have the method
        assert worker.cool_down(none, lambda: said.append(1)) == 0.0
        assert worker._conditions(none, 0.0) == {}
    assert said == []


def test_a_device_that_stays_hot_is_measured_in_the_end_and_its_row_is_marked():
    hot = Hot("critical")
    assert worker.cool_down(hot, lambda: None) == 605.0
    assert worker._conditions(hot, 605.0) == {
        "thermal": "critical", "power": "AC Power", "hot": True, "cooled_s": 605.0,
    }  # fmt: skip
    assert worker._conditions(Hot("nominal"), 0.0)["hot"] is False
