"""Which lanes take part in a collective: branches, loops, returns, partial simdgroups."""

from __future__ import annotations

import numpy as np
import pytest
from support.conformance import conformance_device
from support.divergent_program import LANE, Divergent
from support.msl import HEAD, read_text

TEXT = read_text("divergence.metal")


@pytest.fixture(scope="module")
def device():
    return conformance_device()


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def integers(device, library, name, rows, n=1, threads=32):
    out = np.full((rows, 32), -1, np.int32)
    device.run(
        library.pipeline(name), threadgroups=1, threads=threads, buffers={0: out, 1: np.int32(n)}
    )
    return out


def test_votes_count_the_lanes_that_are_active(device, library):
    rows = integers(device, library, "votes", 7)
    even = 0x55555555
    assert (rows[0] == even).all()
    assert (rows[1] == 2 + 8).all()
    np.testing.assert_array_equal(rows[2], 1 + 4 * (LANE == 0))
    assert (rows[3] == -1).all()
    inside = (LANE >= 5) & (LANE % 2 == 0)
    active = sum(1 << int(lane) for lane in LANE[inside])
    assert (rows[4][inside] == active).all()
    np.testing.assert_array_equal(rows[5][inside], 2 + (LANE[inside] == 6))
    assert (rows[6][inside] == 1).all()
    assert (rows[4:, ~inside] == -1).all()


def test_a_collective_in_a_branch_is_for_the_lanes_in_it(device, library):
    values = integers(device, library, "branches", 1)[0]
    low, odd = LANE < 7, (LANE >= 7) & (LANE % 2 == 1)
    # Odd lanes 7..31 are 13; of those above 20 the first is 21; the greatest even lane is 30.
    expected = np.where(low, 7, np.where(odd, 1300 + 21 * (LANE > 20), 30)) + 320000
    np.testing.assert_array_equal(values, expected)


def test_the_same_call_in_both_branches_is_two_calls(device, library):
    rows = integers(device, library, "same_in_both", 3)
    np.testing.assert_array_equal(rows[0], np.where(LANE % 4 == 0, 8, 24))
    np.testing.assert_array_equal(rows[1], np.where(LANE < 20, LANE + 1, LANE - 19))
    assert (rows[2] == 32).all()


def test_lanes_that_have_returned_take_no_part(device, library):
    rows = integers(device, library, "early", 3)
    stay = LANE % 3 != 1
    assert (rows[0] == 32).all()
    np.testing.assert_array_equal(rows[1], np.where(stay, 21, -1))
    last = stay & (LANE <= 20)
    np.testing.assert_array_equal(rows[2], np.where(last, last.sum(), -1))


def simulate(turn_of, turns):
    """Sums over the lanes active at each collective of each turn, in lockstep.

    `turn_of(k)` yields (mask, weight) for the collectives of turn `k`.
    """
    seen = np.zeros(32, np.int64)
    for k in range(turns):
        for mask, weight in turn_of(k):
            seen[mask] += weight * mask.sum()
    return seen


@pytest.mark.parametrize("n", [1, 3])
def test_lanes_leave_a_loop_at_different_turns_and_meet_after_it(device, library, n):
    rows = integers(device, library, "trips", 2, n)
    expected = np.zeros(32, np.int64)
    for k in range(4 * n):
        mask = LANE % 5 * n > k
        expected[mask] = expected[mask] * 3 + mask.sum()
    np.testing.assert_array_equal(rows[0], expected)
    assert (rows[1] == 32).all()


@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_lanes_that_skip_a_branch_wait_for_the_others_before_the_next_turn(device, library, n):
    values = integers(device, library, "branch_in_loop", 1, n)[0]
    everyone = np.ones(32, bool)
    expected = simulate(lambda k: [(everyone, 1), ((LANE + k) % 3 == 0, 1000)], n)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_continue_and_break_do_not_mix_turns(device, library, n):
    values = integers(device, library, "skip_in_loop", 1, n)[0]

    def turn(k):
        here = (LANE + k) % 4 != 0
        here &= ~((LANE == 9) & (k > 2))
        return [(here, 1), (here & ((LANE + k) % 4 != 1), 100)]

    np.testing.assert_array_equal(values, simulate(turn, n))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_turns_of_an_inner_loop_belong_to_one_turn_of_the_outer(device, library, n):
    values = integers(device, library, "nested_loops", 1, n)[0]

    def turn(ik):
        here = (LANE + ik // 2) % 3 > ik % 2
        return [(here, 1), (here & (LANE % 2 == 1), 1000)]

    np.testing.assert_array_equal(values, simulate(turn, 2 * n))


def test_a_loop_may_be_governed_by_a_vote(device, library):
    rows = integers(device, library, "while_voting", 2, 2)
    assert (rows[0] == 12).all()
    # The body runs max(1, 2 (lane % 7)) times, for those lanes that are still in the loop.
    turns = np.maximum(1, 2 * (LANE % 7))
    expected = [sum((turns > k).sum() for k in range(t)) for t in turns]
    np.testing.assert_array_equal(rows[1], expected)


def test_a_function_called_in_each_case_of_a_switch_sees_its_own_lanes(device, library):
    values = integers(device, library, "switched", 1)[0]
    by_case = [np.full(32, 8), np.full(32, 10 * LANE[1::4].sum())]
    # Case 2 falls through to default, which case 3 enters too: 16 lanes meet there.
    by_case += [np.full(32, 7 + 1600), np.full(32, 1600)]
    np.testing.assert_array_equal(values, np.choose(LANE % 4, by_case))


@pytest.mark.parametrize("threads", [1, 5, 33, 63])
def test_the_last_simdgroup_may_be_partial(device, library, threads):
    out = np.full((threads + 1, 8), -9, np.int32)
    device.run(library.pipeline("partial"), threadgroups=1, threads=threads, buffers={0: out})
    assert (out[threads] == -9).all()
    i = np.arange(threads)
    lane, group = i % 32, i // 32
    here = np.minimum(32, threads - 32 * group)
    mask = np.where(here == 32, -1, (1 << here.astype(np.int64)) - 1).astype(np.int32)
    expected = np.stack(
        [
            here,
            mask,
            3 + 4 * (lane == 0),
            2 * lane,
            np.ones(threads),
            lane,
            100 * group + (threads + 31) // 32,
            np.full(threads, 32),
        ],
        axis=1,
    )
    np.testing.assert_array_equal(out[:threads], expected.astype(np.int32))


DIVERGENT = {seed: Divergent(seed) for seed in range(40)}


@pytest.fixture(scope="module")
def divergent(device):
    return device.library(HEAD + "".join(p.text() for p in DIVERGENT.values()))


@pytest.mark.parametrize("seed", DIVERGENT)
def test_a_random_program_that_diverges_runs_as_in_lockstep(device, divergent, seed):
    for n in (0, 2):
        rows = integers(device, divergent, f"divergent_{seed}", 2, n)
        np.testing.assert_array_equal(rows[0].view(np.uint32), DIVERGENT[seed].run(n))
        assert (rows[1] == 32).all()
