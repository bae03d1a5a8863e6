import numpy as np
import pytest
from attnproto import cli
from attnproto.commands import selftest
from attnproto.commands.selftest import SyntheticKernel, cheats, honest, run_selftest
from attnproto.problem import AttentionProblem
from attnproto.reference.gate import CANARY, full_gate, trial

PROBLEM = AttentionProblem(1, 2, 1, 7, 9, 8, "f32")


def test_the_instrument_passes_its_own_test():
    failed = [check for check in run_selftest() if not check.passed]
    assert failed == []


@pytest.mark.parametrize("name", sorted(cheats()))
def test_each_cheat_fails_the_gate(name):
    assert not full_gate(cheats()[name], PROBLEM).judgement.passed


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_an_honest_kernel_passes_in_every_dtype(dtype):
    problem = AttentionProblem(1, 2, 1, 7, 9, 8, dtype)
    assert full_gate(honest, problem).judgement.reason == ""


def test_the_output_starts_as_nan_between_canaries():
    seen = {}

    def look(q, k, v, output):
        seen["start"] = output.copy()
        honest(q, k, v, output)

    trial(look, PROBLEM)
    size = 2 * 7 * 8
    assert np.all(np.isnan(seen["start"][:size]))
    assert np.all(seen["start"][size:] == CANARY)


def test_a_kernel_that_cheats_unseen_would_fail_the_self_test(monkeypatch):
    monkeypatch.setattr(selftest, "cheats", lambda: {"is honest": honest})
    checks = {check.name: check for check in selftest._cheat_checks()}
    assert not checks["a kernel that is honest is caught"].passed


def test_a_synthetic_kernel_has_the_noise_it_claims():
    times = [SyntheticKernel(100.0, noise=0.05, seed=i).run() for i in range(2000)]
    # The standard error of a standard deviation from 2000 samples is 1.6 %: four of them.
    assert np.std(times) == pytest.approx(5.0, rel=0.064)
    assert np.mean(times) == pytest.approx(100.0, abs=0.5)


def test_the_command_ends_well(capsys):
    assert cli.guarded(cli.app, ["selftest"]) == 0
    assert "FAILED" not in capsys.readouterr().out
