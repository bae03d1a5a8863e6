"""Who has the device alone, and for how long."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import attnproto
import numpy as np
import pytest
from attnproto.device import device as devices
from attnproto.device.lock import Alone
from attnproto.measure import pairs, peaks, protocol
from attnproto.measure.stopping import SampleCount
from attnproto.prototypes.burn import prototype

TEXT = """
kernel void one(device float* x [[buffer(0)]]) { x[0] = 1.0f; }
"""
PROTOCOL = protocol.Protocol("quick", 2, 1.0, 1.0, SampleCount(3))


class Seen(list):
    """What happens, in order, with "in" and "out" where the device is had alone."""

    def __enter__(self):
        self.append("in")

    def __exit__(self, *_):
        self.append("out")

    def did(self, what, answer=None):
        def do(*_, **__):
            self.append(what)
            return answer

        return do


@pytest.fixture
def seen(monkeypatch):
    events = Seen()
    for module in (devices, protocol, peaks, pairs, prototype):
        monkeypatch.setattr(module, "alone", events)
    return events


def test_a_submission_has_the_device_and_its_compilation_does_not(seen):
    device = attnproto.open_device("cpu")
    pipeline = device.library(TEXT).pipeline("one")
    assert seen == []
    device.run(pipeline, threadgroups=1, threads=1, buffers={0: np.zeros(1, np.float32)})
    assert seen == ["in", "out"]


def test_a_measurement_has_the_device_and_its_verdicts_do_not(seen):
    right = SimpleNamespace(passed=True, reason="")
    protocol.measure(
        seen.did("run", 100.0),
        gate=seen.did("gate", right),
        regate=seen.did("regate", right),
        protocol=PROTOCOL,
    )
    runs = seen.count("run")
    assert runs >= 2 + 3
    assert seen == ["gate", "in", *["run"] * runs, "out", "regate"]


def test_a_comparison_has_the_device_from_its_warm_up_to_its_last_block(seen):
    drawn = np.random.default_rng(0)

    def kernel(name, time_us):
        return SimpleNamespace(
            run=lambda repeats=1: seen.did(
                name, repeats * time_us * (1 + 0.001 * drawn.standard_normal())
            )()
        )

    pairs.compare([kernel("a", 1e5), kernel("b", 2e5)])
    assert seen[0] == "in"
    assert seen[-1] == "out"
    assert set(seen[1:-1]) == {"a", "b"}


def test_probing_a_device_has_it(seen, monkeypatch):
    class Some:
        pass

    monkeypatch.setattr(peaks, "probe", seen.did("probe", "peaks"))
    some = Some()
    assert [peaks.peaks_of(some), peaks.peaks_of(some)] == ["peaks", "peaks"]
    assert seen == ["in", "probe", "out"]


def test_a_program_that_opens_the_device_itself_has_it(seen, monkeypatch):
    monkeypatch.setattr(prototype, "_kernels", seen.did("export", (None, {})))
    monkeypatch.setattr(prototype.rust_crates, "run", seen.did("run", "printed"))
    assert prototype._run("cpu", "overhead", 1) == "printed"
    assert seen == ["export", "in", "run", "out"]


def entering(alone: Alone) -> threading.Event:
    """Let another thread enter; the event says that it has."""
    entered = threading.Event()

    def enter():
        with alone:
            entered.set()

    threading.Thread(target=enter, daemon=True).start()
    return entered


HOLDER = """
import sys
from attnproto.device.lock import alone
alone.share(sys.argv[1])
with alone:
    with alone:
        print("in", flush=True)
    sys.stdin.read()
"""


def test_the_device_is_waited_for_until_the_outermost_block_of_another_process_ends(tmp_path):
    path = tmp_path / "shared"
    path.touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "in\n"
    alone = Alone()
    alone.share(path)
    entered = entering(alone)
    assert not entered.wait(0.3)
    holder.communicate()
    assert entered.wait(30)


def test_threads_of_a_sharing_process_take_turns_too(tmp_path):
    path = tmp_path / "shared"
    path.touch()
    alone = Alone()
    alone.share(path)
    with alone:
        entered = entering(alone)
        assert not entered.wait(0.3)
    assert entered.wait(30)


def test_nobody_is_barred_where_nothing_is_shared():
    alone = Alone()
    with alone, alone:
        assert entering(alone).wait(30)
