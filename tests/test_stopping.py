import numpy as np
from attnproto.measure.protocol import QUICK
from attnproto.measure.stopping import AllOf, AnyOf, ElapsedTime, MedianPrecision, SampleCount


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


def test_precision_by_hand():
    # Values 9, 11 in turn: median 10, absolute deviation 1, sigma 1.4826; of 8 the median's
    # error is 1.2533 x 1.4826 / sqrt(8) = 0.657, 6.57 % of 10.
    samples = [9.0, 11.0] * 4
    assert not MedianPrecision(0.065).done(samples, 0.0)
    assert MedianPrecision(0.066).done(samples, 0.0)


def test_samples_of_two_clock_states_do_not_end_the_run():
    # 8 near 100 and 7 near 180: the median's error by its deviation is below 1 %, of a wrong thing.
    rng = np.random.default_rng(3)
    samples = [*(100.0 + 0.1 * rng.standard_normal(8)), *(180.0 + 0.1 * rng.standard_normal(7))]
    assert not MedianPrecision(0.01, least=15).done(samples, 0.0)
    assert not QUICK.stop.done(samples, 0.0)
    assert QUICK.stop.done(samples, 2.0)  # it ends all the same when its time is up
    assert MedianPrecision(0.01, least=15).done([*samples[:8], *samples[:7]], 0.0)
