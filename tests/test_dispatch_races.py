"""Under validation, dispatches that may overlap and touch each other's memory are found."""

from __future__ import annotations

import attnproto
import numpy as np
import pytest
from attnproto.errors import ValidationError
from support.msl import read_text

N = 64
TEXT = read_text("dispatch_races.metal")


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu", validate=True)


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


@pytest.fixture
def dispatch(library):
    def of_kernel(kernel: str, *bound: object, barrier: bool = False) -> attnproto.Dispatch:
        return attnproto.Dispatch(
            library.pipeline(kernel), 2, N // 2, dict(enumerate(bound)), barrier_before=barrier
        )

    return of_kernel


def zeros() -> np.ndarray:
    return np.zeros(N, np.float32)


def readonly(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def pairs(dispatch, barrier: bool) -> dict[str, tuple[list, tuple]]:
    """Two dispatches that race, then the kind of what each does, by a name."""
    x, y, total = zeros(), zeros(), np.zeros(1, np.uint32)
    return {
        "read after write": (
            [dispatch("put", x, np.float32(2)), dispatch("copy", y, x, barrier=barrier)],
            ("read", "copy", 8, "wrote", "put", 5),
        ),
        "write after read": (
            [dispatch("copy", y, x), dispatch("put", x, np.float32(2), barrier=barrier)],
            ("wrote", "put", 5, "read", "copy", 8),
        ),
        "write after write": (
            [dispatch("put", x, np.float32(2)), dispatch("put", x, np.float32(3), barrier=barrier)],
            ("wrote", "put", 5, "wrote", "put", 5),
        ),
        "granules of another size": (
            [dispatch("put", x, np.float32(2)),
             dispatch("halves", x.view(np.float16)[N // 2:], barrier=barrier)],
            ("wrote", "halves", 11, "wrote", "put", 5),
        ),
        "atomic and plain": (
            [dispatch("count", total), dispatch("look", y, total, barrier=barrier)],
            ("read", "look", 17, "wrote atomically", "count", 14),
        ),
        "read of what may not be written": (
            [dispatch("put", x, np.float32(2)),
             dispatch("copy", y, readonly(x), barrier=barrier)],
            ("read", "copy", 8, "wrote", "put", 5),
        ),
    }  # fmt: skip


NAMES = list(pairs(lambda *_, **__: None, False))


@pytest.mark.parametrize("name", NAMES)
def test_what_races_is_found_with_both_kernels_and_lines(device, dispatch, name):
    dispatches, (action, kernel, line, earlier, other, other_line) = pairs(dispatch, False)[name]
    with pytest.raises(ValidationError) as raised:
        device.submit(dispatches, concurrent=True)
    error = raised.value
    first, second = error.parties
    assert (error.kind, error.kernel) == ("dispatch-race", kernel)
    assert (first.action, first.line, first.kernel) == (action, line, "")
    assert (second.action, second.line, second.kernel) == (earlier, other_line, other)
    assert f" of {other} {earlier} in line {other_line} `" in str(error)
    assert "barrier_before=True" in str(error)


@pytest.mark.parametrize("name", NAMES)
def test_order_makes_it_right(device, dispatch, name):
    dispatches, _ = pairs(dispatch, True)[name]
    device.submit(dispatches, concurrent=True)
    dispatches, _ = pairs(dispatch, False)[name]
    device.submit(dispatches)
    for one in dispatches:
        device.submit([one], concurrent=True)


def test_what_no_order_changes_is_no_race(device, dispatch):
    x, y, z = zeros(), zeros(), zeros()
    put = dispatch("put", x, np.float32(2))
    device.submit([put, put, dispatch("put", x, np.float32(2))], concurrent=True)
    device.submit([dispatch("count", np.zeros(1, np.uint32))] * 3, concurrent=True)
    device.submit([dispatch("copy", x, z), dispatch("copy", y, z)], concurrent=True)
    device.submit([dispatch("copy", x[:N], z), dispatch("bump", y)], concurrent=True)


def test_all_since_the_last_barrier_are_looked_at(device, dispatch):
    x, y, z = zeros(), zeros(), zeros()
    order = [
        dispatch("put", z, np.float32(1)), dispatch("put", x, np.float32(2), barrier=True),
        dispatch("bump", y), dispatch("copy", y, x),
    ]  # fmt: skip
    with pytest.raises(ValidationError) as raised:
        device.submit(order, concurrent=True)
    # Both that came before race with it; the first one is named.
    assert raised.value.parties[1].kernel == "put"
    device.submit([*order[:3], dispatch("copy", zeros(), z)], concurrent=True)


def test_a_value_put_back_is_a_race_with_its_reader(device, dispatch):
    x = np.full(N, 3, np.float32)
    with pytest.raises(ValidationError, match="dispatch-race"):
        device.submit([dispatch("bump", x), dispatch("put", x, np.float32(4))], concurrent=True)
    device.submit([dispatch("put", x, np.float32(4))], concurrent=True)
