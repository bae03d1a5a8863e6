import itertools
from dataclasses import replace

import numpy as np
import pytest
from attnproto.commands.selftest import SyntheticKernel
from attnproto.measure.protocol import QUICK, measure
from attnproto.measure.stats import summarize
from attnproto.measure.stopping import AllOf, AnyOf, ElapsedTime, MedianPrecision, SampleCount
from attnproto.reference import Judgement
from attnproto.reference.ulp import UlpError


def test_rules_say_when_to_stop():
    assert not SampleCount(3).done([1.0] * 2, 9.0)
    assert SampleCount(3).done([1.0] * 3, 0.0)
    assert not ElapsedTime(2.0).done([], 1.9)
    assert ElapsedTime(2.0).done([], 2.0)
    both = AllOf((SampleCount(3), ElapsedTime(2.0)))
    either = AnyOf((SampleCount(3), ElapsedTime(2.0)))
    assert not both.done([1.0] * 3, 1.0)
    assert either.done([1.0] * 3, 1.0)
    assert both.describe() == "3 samples and 2 s"
    assert either.describe() == "3 samples or 2 s"


def test_precision_is_looked_at_only_when_the_count_doubles():
    rule = MedianPrecision(0.5, least=8)
    steady = [1.0] * 64
    assert [n for n in range(1, 65) if rule.done(steady[:n], 0.0)] == [8, 16, 32, 64]


def test_precision_is_that_of_the_interval_a_row_reports():
    samples = np.random.default_rng(1).permutation(100.0 + 0.1 * np.arange(60))
    # The median's 95 % interval is about sqrt(60) = 7.7 of 60 evenly spaced ranks to either side.
    half = summarize(samples).relative_half_width
    assert half == pytest.approx(0.0077, rel=0.2)
    assert MedianPrecision(half * 1.001, least=60).done(samples, 0.0)
    assert not MedianPrecision(half * 0.999, least=60).done(samples, 0.0)


def noisy(centres, noise=0.001, seed=3):
    return np.asarray(centres) * (1.0 + noise * np.random.default_rng(seed).standard_normal(15))


TWO_STATES = [100.0] * 8 + [180.0] * 7
THREE_STATES = [100.0] * 5 + [101.5] * 5 + [103.0] * 5


@pytest.mark.parametrize(
    ("samples", "ends"),
    [
        pytest.param([100.0] * 15, True, id="constant"),
        pytest.param(noisy([100.0] * 15), True, id="quiet"),
        pytest.param(noisy([100.0] * 15, noise=0.05), False, id="loud"),
        pytest.param(noisy([100.0] * 14 + [900.0]), True, id="one outlier"),
        pytest.param(TWO_STATES, False, id="two states without noise"),
        pytest.param(noisy(TWO_STATES), False, id="two states in runs"),
        pytest.param(noisy(TWO_STATES[::-1]), False, id="two states, slow first"),
        pytest.param(noisy([100.0, 180.0] * 7 + [100.0]), False, id="two states alternating"),
        pytest.param(noisy([100.0] * 12 + [180.0] * 3), False, id="a second state begins"),
        pytest.param(noisy([100.0, 100.4] * 7 + [100.0]), True, id="states too near to matter"),
        pytest.param(noisy(THREE_STATES), False, id="three states in runs"),
        pytest.param(noisy(np.linspace(100.0, 103.0, 15)), False, id="drift up"),
        pytest.param(noisy(np.linspace(103.0, 100.0, 15)), False, id="drift down"),
        pytest.param(noisy(np.linspace(100.0, 100.9, 15)), True, id="drift too small to matter"),
    ],
)
def test_sampling_ends_on_one_state_that_is_known_well(samples, ends):
    assert MedianPrecision(0.01, least=15).done(samples, 0.0) is ends
    assert QUICK.stop.done(samples, 0.0) is ends
    assert QUICK.stop.done(samples, 2.0)  # it ends all the same when its time is up


def test_samples_of_two_states_go_on_until_the_time_is_up():
    kernel = SyntheticKernel(1.2e3, noise=0.001)
    states = itertools.cycle([1.0] * 8 + [1.8] * 7)
    protocol = replace(QUICK, stop=AnyOf((MedianPrecision(0.01, least=15), SampleCount(120))))
    taken = measure(
        lambda repeats: kernel.run(repeats) * next(states),
        gate=lambda: Judgement(True, "", 0.0, 0.0, UlpError(0.0, 0.0, 0.0, 0.0)),
        protocol=protocol,
    )
    assert len(taken.samples_us) == 120
    assert taken.as_result()["bimodal"] is True
