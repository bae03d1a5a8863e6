from dataclasses import dataclass

import pytest
from attnproto.commands.selftest import SyntheticKernel
from attnproto.errors import UnstableMeasurement, WrongResult
from attnproto.measure.protocol import (
    FULL,
    QUICK,
    ImpossibleTime,
    Peaks,
    Protocol,
    check_possible,
    measure,
)
from attnproto.measure.stopping import AllOf, ElapsedTime, SampleCount


@dataclass(frozen=True)
class Said:
    passed: bool = True
    reason: str = ""


BRIEF = Protocol("brief", 4, 200e3, 1.2e3, SampleCount(20))


def test_a_known_time_is_found_within_its_interval():
    taken = measure(SyntheticKernel(500.0, noise=0.01).run, gate=Said, protocol=BRIEF)
    assert taken.summary.median == pytest.approx(500.0, rel=0.01)
    assert taken.summary.low <= 500.5
    assert len(taken.samples_us) == 20


def test_a_short_kernel_is_repeated_until_it_fills_a_sample():
    # 1200 us of sample over 50 us a dispatch: 24 dispatches, and still 50 us each.
    taken = measure(SyntheticKernel(50.0).run, gate=Said, protocol=BRIEF)
    assert taken.repeats == 24
    assert taken.summary.median == pytest.approx(50.0)


def test_a_sample_is_filled_by_dispatches_of_a_warm_device():
    # After idle a dispatch takes 80 us, ten of them later 50: 1200 us need 24, not 15.
    calls = []

    def run(repeats):
        calls.append(repeats)
        return repeats * (80.0 if len(calls) <= 10 else 50.0)

    taken = measure(run, gate=Said, protocol=BRIEF)
    assert taken.repeats == 24
    assert set(calls[-20:]) == {24}


def test_a_clock_that_rises_at_the_very_end_of_warming_up_still_counts():
    # 4 thrown away and 1 of 15 x 80 us would warm up 1 ms; the next runs faster.
    calls = []

    def run(repeats):
        calls.append(repeats)
        return repeats * (80.0 if len(calls) <= 4 else 40.0)

    short = Protocol("short", 4, 500.0, 1.2e3, SampleCount(5))
    assert measure(run, gate=Said, protocol=short).repeats == 30


def test_a_submission_stays_below_the_watchdog():
    # 200 ms aimed at over 150 ms a dispatch would be 2; 500 ms allow 3.
    slow = Protocol("slow", 1, 0.0, 900e3, SampleCount(2))
    assert measure(SyntheticKernel(150e3).run, gate=Said, protocol=slow).repeats == 3


def test_warming_up_takes_four_dispatches_and_200_ms_before_the_first_sample():
    kernel = SyntheticKernel(2000.0)
    taken = measure(kernel.run, gate=Said, protocol=BRIEF)
    assert taken.warmup_us >= 200e3
    # 4 thrown away, 100 of 2 ms to warm up, 20 samples.
    assert kernel.submissions == 4 + 100 + 20


def test_no_time_is_reported_for_a_wrong_result():
    kernel = SyntheticKernel(500.0)
    with pytest.raises(WrongResult, match="off by one"):
        measure(kernel.run, gate=lambda: Said(False, "off by one"), protocol=BRIEF)
    assert kernel.submissions == 0


def test_a_result_that_goes_wrong_later_takes_its_times_along():
    with pytest.raises(WrongResult, match="after timing"):
        measure(
            SyntheticKernel(500.0).run,
            gate=Said,
            regate=lambda: Said(False, "remembered"),
            protocol=BRIEF,
        )


def test_times_that_vary_too_much_are_not_reported():
    with pytest.raises(UnstableMeasurement, match="CV"):
        measure(SyntheticKernel(500.0, spikes=3).run, gate=Said, protocol=BRIEF)


def test_a_clock_that_stands_still_is_noticed():
    with pytest.raises(UnstableMeasurement, match="clock"):
        measure(lambda repeats: 0.0, gate=Said, protocol=BRIEF)


def test_a_dispatch_that_would_trip_the_watchdog_is_refused():
    with pytest.raises(ImpossibleTime, match="split"):
        measure(SyntheticKernel(600e3).run, gate=Said, protocol=BRIEF)


@pytest.mark.parametrize(
    ("time_us", "flops", "moved", "possible"),
    [
        (100.0, 1e8, 0.0, True),  # 1e8 FLOP at 1 TFLOP/s are 100 us
        (92.0, 1e8, 0.0, True),  # within the slack of 10 %
        (90.0, 1e8, 0.0, False),
        (900.0, 0.0, 1e8, False),  # 1e8 bytes at 100 GB/s are 1000 us
        (900.0, 0.0, 5e7, True),  # 50 MB may come from a cache
        (1.5, 0.0, 0.0, False),  # an empty dispatch takes 2 us
    ],
)
def test_physics_refuses_what_the_peaks_forbid(time_us, flops, moved, possible):
    peaks = Peaks(flops_per_s=1e12, bytes_per_s=1e11, empty_us=2.0)
    if possible:
        check_possible(time_us, flops, moved, peaks)
    else:
        with pytest.raises(ImpossibleTime):
            check_possible(time_us, flops, moved, peaks)


def test_modes_are_what_the_specification_asks():
    assert (FULL.throwaway, FULL.warmup_us) == (4, 5e6)
    assert FULL.stop == AllOf((SampleCount(50), ElapsedTime(10.0)))
    assert (QUICK.throwaway, QUICK.warmup_us) == (4, 200e3)
    assert QUICK.sample_us >= 1.2e3
    assert "quick" in QUICK.describe()
