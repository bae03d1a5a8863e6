"""Other libraries beside ours: judged first, then timed by one clock."""

from __future__ import annotations

import json

import attnproto
import numpy as np
import pytest
from attnproto.cli import app, guarded
from attnproto.errors import DeviceUnavailable, WrongResult
from attnproto.prototypes.flash import peers, prototype
from attnproto.sweep.plan import make_plan
from support.prototype_rows import check_declared

POINT = {
    "kind": "peer", "B": 1, "Hq": 2, "Hkv": 1, "causal": True, "input": "normal", "Br": 16,
    "Bc": 64, "D": 64, "dtype": "f16", "Nq": 33, "Nkv": 33,
}  # fmt: skip


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("cpu")


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch):
    def once(kernels, **_):
        times = [kernel.run(2) / 2 for kernel in kernels]
        return {"ratio": times[0] / times[1], "a_us": times[0], "b_us": times[1]}

    monkeypatch.setattr(peers, "compare", once)


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
@pytest.mark.parametrize("peer", ["mlx", "torch"])
def test_a_peer_is_right_and_timed_beside_ours(device, peer, dtype):
    pytest.importorskip(peer)
    outcome = prototype.run({**POINT, "peer": peer, "dtype": dtype}, device, "quick")
    assert outcome.status == "ok", outcome.reason
    result = outcome.result
    check_declared(result)
    assert result["peer"] == peer
    assert 0 < result["peer_worst_ratio"] <= 1
    assert result["modelled_refused"][0].startswith("N: found")
    # Nothing is said of a GPU by an emulated one.
    assert "ratio" not in result
    assert min(result[f"emulated_{name}"] for name in ("ratio", "a_us", "b_us", "own_gpu_us")) > 0


class Wrong:
    """Computes something else."""

    where = "nowhere"

    def __init__(self, problem, tensors):
        self._q = tensors[0]

    def output(self):
        return np.asarray(self._q, np.float32)


def test_a_peer_that_is_wrong_gets_no_time(device, monkeypatch):
    monkeypatch.setattr(peers, "PEERS", {"json": Wrong})
    with pytest.raises(WrongResult, match="wrong output of json"):
        prototype.run({**POINT, "peer": "json"}, device, "quick")


def test_a_peer_that_is_missing_is_a_sentence(device):
    with pytest.raises(DeviceUnavailable, match="found no no_such_library"):
        prototype.run({**POINT, "peer": "no_such_library"}, device, "quick")


def test_the_option_needs_flash_alone_and_a_peer(monkeypatch, capsys):
    assert guarded(app, ["run", "--peers"]) == 2
    assert "pass --only flash" in capsys.readouterr().err
    monkeypatch.setattr(peers, "installed", list)
    assert guarded(app, ["run", "--peers", "--only", "flash"]) == 2
    assert "needs mlx or torch" in capsys.readouterr().err
    monkeypatch.setattr(peers, "installed", lambda: ["mlx"])
    listed = prototype.peer_points("quick")
    assert {point["peer"] for point in listed} == {"mlx"}
    assert len(listed) == 8
    plan = make_plan(mode="quick", device="cpu", only=("flash",), point=json.dumps(listed))
    assert [task.point for task in plan.tasks] == listed
