import pytest
from attnproto.measure import stats
from attnproto.measure.crossover import find_crossover


def exact(ratio, width=0.01):
    low, high = ratio * (1 - width), ratio * (1 + width)
    return stats.Ratio(ratio, low, high, 0.0, stats.decide(low, high, 0.0), 6, 0.0)


def test_a_crossover_is_bracketed_where_the_ratio_passes_one():
    # time A / time B = N / 3000: B wins from 3000 on. The 1 % interval leaves 2970..3030
    # undecided.
    crossover = find_crossover(lambda n: exact(n / 3000), 256, 65536, step=64)
    assert crossover.status == "bracketed"
    assert crossover.low < 3000 < crossover.high
    assert crossover.high - crossover.low <= 4 * 64
    assert crossover.estimate == pytest.approx(3000, rel=0.05)
    assert len(crossover.probes) < 30


@pytest.mark.parametrize(("scale", "status"), [(1e9, "never"), (1.0, "always")])
def test_a_range_without_a_crossing_says_so(scale, status):
    crossover = find_crossover(lambda n: exact(n / scale), 256, 4096)
    assert crossover.status == status
    assert len(crossover.probes) == 2


def test_an_undecided_end_is_not_guessed_away():
    assert find_crossover(lambda n: exact(1.0, 0.5), 256, 4096).status == "undecided"
