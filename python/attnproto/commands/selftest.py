"""The instrument tested on what is known: noise of known size, kernels known to cheat."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from attnproto.errors import AttnprotoError
from attnproto.measure import stats
from attnproto.measure.crossover import find_crossover
from attnproto.measure.protocol import Peaks, Protocol, measure
from attnproto.measure.stopping import SampleCount
from attnproto.problem import AttentionProblem
from attnproto.reference import Judgement, softmax_attention
from attnproto.reference.gate import Launch, full_gate
from attnproto.reference.ulp import UlpError

_PROBLEM = AttentionProblem(1, 2, 1, 24, 40, 16, "f32")
_RIGHT = Judgement(True, "", 0.0, 0.0, UlpError(0.0, 0.0, 0.0, 0.0))
_PROTOCOL = Protocol("selftest", 4, 200e3, 1.2e3, SampleCount(50), largest_cv=1.0)


@dataclass(frozen=True)
class Check:
    """One check: its name, whether it passed, and what was seen."""

    name: str
    passed: bool
    detail: str


@dataclass
class SyntheticKernel:
    """A kernel without a device: its times have a known mean, noise, drift and outliers.

    Args:
        mean_us: Of one dispatch.
        noise: Standard deviation of a submission's time, as a share of it.
        drift: Share by which each submission is slower than the one before.
        spikes: Every so many submissions one takes three times as long; 0 for none.
        seed: Of the noise.
    """

    mean_us: float
    noise: float = 0.0
    drift: float = 0.0
    spikes: int = 0
    seed: int = 0
    submissions: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._stream = np.random.default_rng(self.seed)

    def run(self, repeats: int = 1) -> float:
        """Return the time of a submission of that many dispatches, in us."""
        self.submissions += 1
        time_us = self.mean_us * repeats * (1.0 + self.drift * self.submissions)
        time_us *= 1.0 + self.noise * self._stream.standard_normal()
        spiked = self.spikes and self.submissions % self.spikes == 0
        return float(time_us * (3.0 if spiked else 1.0))


def run_selftest(seed: int = 0) -> list[Check]:
    """Run every check.

    Args:
        seed: Of the synthetic samples.

    Returns:
        The checks in order.
    """
    checks = [*_noise_checks(seed), *_comparison_checks(seed), *_cheat_checks()]
    return [*checks, *_device_checks()]


def _noise_checks(seed: int) -> Iterator[Check]:
    kernel = SyntheticKernel(500.0, noise=0.02, seed=seed)
    taken = measure(kernel.run, gate=lambda: _RIGHT, protocol=_PROTOCOL)
    summary = taken.summary
    # The median of 50 samples of 2 % noise has a standard error of 0.35 %: four of them.
    close = abs(summary.median / 500.0 - 1.0) < 0.015
    detail = f"500 us found as {summary.median:.1f} ({summary.low:.1f} to {summary.high:.1f})"
    yield Check("a known time is recovered", close, detail)
    # The relative error of a standard deviation from 50 samples is about 10 %: four of them.
    detail = f"2 % found as {100 * summary.cv:.2f} %"
    yield Check("a known noise is recovered", 0.6 < summary.cv / 0.02 < 1.4, detail)

    kernel = SyntheticKernel(2000.0, noise=0.005, spikes=10, seed=seed)
    taken = measure(kernel.run, gate=lambda: _RIGHT, protocol=_PROTOCOL)
    outliers = taken.summary.outliers.count
    detail = f"{outliers} outliers of 5 sown; {taken.summary.n} samples kept"
    yield Check(
        "outliers are reported, not dropped", outliers >= 5 and taken.summary.n == 50, detail
    )

    kernel = SyntheticKernel(2000.0, noise=0.005, drift=0.002, seed=seed)
    drift = measure(kernel.run, gate=lambda: _RIGHT, protocol=_PROTOCOL).summary.drift
    slowed = drift is not None and drift.throttled
    detail = "no drift seen" if drift is None else f"the end is {drift.ratio:.3f} of the start"
    yield Check("throttling is reported", slowed, detail)


def _comparison_checks(seed: int) -> Iterator[Check]:
    for faster_by, wanted in ((0.10, stats.FASTER), (-0.10, stats.SLOWER), (0.0, stats.EQUAL)):
        a = SyntheticKernel(1000.0 * (1.0 - faster_by), noise=0.01, seed=seed)
        b = SyntheticKernel(1000.0, noise=0.01, seed=seed + 1)
        ratio = stats.compare_paired(a.run, b.run)
        detail = f"ratio {ratio.ratio:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
        yield Check(f"a pair is found {wanted}", ratio.verdict == wanted, detail)

    def pair(size: int) -> stats.Ratio:
        a = SyntheticKernel(size**2 / 3000.0, noise=0.01, seed=seed)
        b = SyntheticKernel(float(size), noise=0.01, seed=seed + 1)
        return stats.compare_paired(a.run, b.run)

    crossover = find_crossover(pair, 256, 65536, step=64)
    inside = crossover.status == "bracketed" and crossover.low <= 3000 <= crossover.high
    detail = f"{crossover.low:g} to {crossover.high:g} for one at 3000"
    yield Check("a crossover is bracketed", inside, detail)


def _cheat_checks() -> Iterator[Check]:
    yield _verdict("an honest kernel passes", honest, caught=False)
    for name, kernel in cheats().items():
        yield _verdict(f"a kernel that {name} is caught", kernel, caught=True)
    peaks = Peaks(flops_per_s=1e12, bytes_per_s=1e11, empty_us=1.0)
    kernel = SyntheticKernel(5.0)
    try:
        measure(kernel.run, gate=lambda: _RIGHT, protocol=_PROTOCOL, flops=1e8, peaks=peaks)
        detail = "reported as a time"
    except AttnprotoError as error:
        detail = str(error)
    yield Check("a time that physics forbids is refused", "peaks" in detail, detail)


def _verdict(name: str, kernel: Launch, *, caught: bool) -> Check:
    judged = full_gate(kernel, _PROBLEM).judgement
    return Check(name, judged.passed != caught, judged.reason or "passed the gate")


def honest(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
    """Compute attention."""
    output[: q.size] = softmax_attention(q, k, v).astype(q.dtype).ravel()


def cheats() -> dict[str, Launch]:
    """Return kernels that each cheat in one way, by what they do."""
    memory: dict[str, np.ndarray] = {}
    turns = itertools.count()

    def skips_work(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
        half = k.shape[2] // 2
        output[: q.size] = softmax_attention(q, k[:, :, :half], v[:, :, :half]).ravel()

    def skips_rows(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
        output[: q.size - q.shape[3]] = softmax_attention(q, k, v).ravel()[: -q.shape[3]]

    def returns_input(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
        output[: q.size] = q.ravel()

    def writes_nothing(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
        return

    def writes_outside(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
        honest(q, k, v, output)
        output[q.size] = 0.0

    def races(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
        honest(q, k, v, output)
        output[: q.size] *= np.float32(1.0 + 1e-6 * next(turns))

    def remembers(q: np.ndarray, k: np.ndarray, v: np.ndarray, output: np.ndarray) -> None:
        memory.setdefault("answer", softmax_attention(q, k, v).ravel())
        output[: q.size] = memory["answer"]

    return {
        "skips keys": skips_work,
        "skips rows": skips_rows,
        "returns its input": returns_input,
        "writes nothing": writes_nothing,
        "writes out of bounds": writes_outside,
        "races": races,
        "caches the answer": remembers,
    }


def _device_checks() -> Iterator[Check]:
    """Put cheating MSL kernels, run by the cpu device, before the gate."""
    from attnproto import open_device

    from .selftest_kernels import device_trials

    try:
        trials = device_trials(open_device("cpu"), _PROBLEM)
        for name, tried in trials.items():
            refused = tried()
            passed = bool(refused) == name.endswith("caught")
            yield Check(f"on the cpu device, {name}", passed, refused or "passed the gate")
    except AttnprotoError as error:
        yield Check("kernels on the cpu device", False, str(error))
