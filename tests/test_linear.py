import itertools
import re

import attnproto
import ml_dtypes
import numpy as np
import pytest
from attnproto.device.recording import Watched
from attnproto.errors import UnsupportedProblem
from attnproto.kernels import flash, linear
from attnproto.kernels.linear import LinearProblem, launch_linear, linear_attention
from attnproto.kernels.text import metal_root
from support.linear import (
    assert_within_tolerance,
    check_decay_that_forgets_at_once,
    check_linear,
    random_inputs,
    recurrence_fp64,
)

DECAYS = ("none", "head", "token", "key")


@pytest.fixture(scope="module")
def device():
    return attnproto.open_device("auto")


@pytest.mark.parametrize("chunk", [32, 64, 128, 256])
@pytest.mark.parametrize("n", [1, 63, 100, 300])
def test_every_chunk_and_length_agrees_with_the_recurrence(device, chunk, n):
    check_linear(device, *random_inputs(n), chunk=chunk)


@pytest.mark.parametrize("normalize", [False, True], ids=["scaled", "normalized"])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("d", [64, 128])
def test_every_decay_agrees_with_the_recurrence(device, d, decay, normalize):
    check_linear(
        device, *random_inputs(150, d, decay=decay, positive=normalize), normalize=normalize
    )


@pytest.mark.parametrize("d", [32, 96])
def test_other_head_dimensions_agree_with_the_recurrence(device, d):
    check_linear(device, *random_inputs(77, d, decay="key"))


@pytest.mark.parametrize("decay", DECAYS)
def test_an_initial_state_is_carried_through(device, decay):
    q, k, v, logs = random_inputs(100, decay=decay)
    state = np.random.default_rng(1).standard_normal((2, 2, 64, 64)).astype(np.float32)
    check_linear(device, q, k, v, logs, initial_state=state)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_sixteen_bit_types_agree_with_the_recurrence(device, dtype):
    q, k, v, decay = random_inputs(100, decay="token", dtype=dtype)
    output = linear_attention(q, k, v, decay=decay, device=device)
    assert_within_tolerance(output, recurrence_fp64(q, k, v, decay=decay)[0])


@pytest.mark.parametrize("decay", ["token", "key"])
def test_decay_that_forgets_at_once_stays_finite(device, decay):
    check_decay_that_forgets_at_once(device, decay)


def test_a_factor_of_zero_may_be_written_as_a_large_number(device):
    q, k, v, _ = random_inputs(40)
    decay = np.zeros((2, 2, 40))
    decay[:, :, 20] = -1e4
    check_linear(device, q, k, v, decay, chunk=32)


def test_growth_that_float32_does_not_hold_is_refused(device):
    q, k, v, _ = random_inputs(70)
    decay = np.zeros((2, 2, 70))
    decay[1, 1, 33:36] = 30
    for given in (decay, np.array([-1, 3.0]), np.repeat(decay[..., None], 64, axis=3)):
        with pytest.raises(
            UnsupportedProblem, match=r"grow by exp\([0-9.]+\) within a chunk of 32"
        ):
            linear_attention(q, k, v, decay=given, chunk=32, device=device)
    decay[1, 1, 34] = -1e4  # the state that has grown is forgotten
    check_linear(device, q, k, v, decay, chunk=32)


@pytest.mark.parametrize(
    "state", [np.full((2, 2, 64, 64), 1e39), np.zeros((2, 2, 64, 64), np.complex64)]
)
def test_a_state_that_float32_does_not_hold_is_refused(device, state):
    q, k, v, _ = random_inputs(4)
    with pytest.raises(UnsupportedProblem, match=r"initial_state of .* float32 does not hold"):
        linear_attention(q, k, v, initial_state=state, device=device)


@pytest.mark.parametrize("name", ["decay", "initial_state"])
def test_a_mask_that_a_conversion_would_drop_is_refused(device, name):
    q, k, v, _ = random_inputs(4)
    shape = (2,) if name == "decay" else (2, 2, 64, 64)
    masked = np.ma.array(np.zeros(shape), mask=False)
    masked.mask.flat[1] = True
    with pytest.raises(UnsupportedProblem, match=f"masked array as {name}"):
        linear_attention(q, k, v, **{name: masked}, device=device)


# The first and the last token of a chunk, and one inside a block of 8.
@pytest.mark.parametrize(("chunk", "cut"), [(32, 64), (64, 127), (64, 53), (256, 150)])
@pytest.mark.parametrize("decay", DECAYS)
def test_no_token_sees_a_later_one(device, decay, chunk, cut):
    q, k, v, logs = random_inputs(200, decay=decay, positive=True)
    options = dict(chunk=chunk, normalize=True, device=device)
    before = linear_attention(q, k, v, decay=logs, **options)
    for tensor, value in ((q, 3.0), (k, 7.0), (v, -9.0)):
        tensor[:, :, cut:] = value
    if decay in ("token", "key"):
        logs[:, :, cut:] = -5.0
    after = linear_attention(q, k, v, decay=logs, **options)
    np.testing.assert_array_equal(before[:, :, :cut], after[:, :, :cut])
    assert (before[:, :, cut:] != after[:, :, cut:]).all()


def test_halves_of_a_sequence_joined_by_their_state_are_the_whole(device):
    q, k, v, decay = random_inputs(128, decay="token")
    undivided, last = linear_attention(q, k, v, decay=decay, return_state=True, device=device)
    state, parts = None, []
    for half in (slice(0, 64), slice(64, 128)):
        part, state = linear_attention(
            *(x[:, :, half] for x in (q, k, v)),
            decay=decay[:, :, half],
            initial_state=state,
            return_state=True,
            device=device,
        )
        parts.append(part)
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), undivided)
    np.testing.assert_array_equal(state, last)


@pytest.mark.parametrize("decay", ["none", "key"])
def test_states_made_a_few_chunks_at_a_time_change_no_bit(device, decay, monkeypatch):
    q, k, v, logs = random_inputs(300, decay=decay, positive=True)
    options = dict(decay=logs, normalize=True, chunk=32, return_state=True, device=device)
    undivided = linear_attention(q, k, v, **options)
    monkeypatch.setattr(linear, "STATES_BYTES", 3 * 4 * 2 * 2 * 64 * 64)
    pieces = linear_attention(q, k, v, **options)
    assert linear.linear_problem_of(q, k, v, chunk=32).chunks_a_dispatch == 3
    for one, other in zip(undivided, pieces, strict=True):
        np.testing.assert_array_equal(one, other)


def test_long_work_goes_out_in_submissions_that_change_no_bit(device, monkeypatch):
    q, k, v, logs = random_inputs(300, decay="token")
    options = dict(decay=logs, chunk=32, return_state=True)
    one, more = Watched(device), Watched(device)
    undivided = linear_attention(q, k, v, device=one, **options)
    assert [len(s) for s in one.submissions] == [3]
    # Three chunks of four heads: 2 D^2 + 2 D (32 + 8) a token.
    monkeypatch.setattr(flash, "DISPATCH_FLOPS", 3 * 4 * 32 * (2 * 64**2 + 2 * 64 * 40))
    pieces = linear_attention(q, k, v, device=more, **options)
    for part, other in zip(pieces, undivided, strict=True):
        np.testing.assert_array_equal(part, other)
    assert len(more.dispatches) == 1 + 2 * 4
    assert len(more.submissions) > 4


def test_no_dispatch_is_estimated_above_half_a_second_on_the_target():
    for d, chunk in itertools.product((32, 64, 128), linear.CHUNKS):
        for heads in (1, 32, 2048):
            problem = LinearProblem(1, heads, 65536, d, "float32", chunk, "none", False)
            assert problem.chunk_flops * problem.chunks_a_dispatch <= 0.5e12
            assert problem.chunk * problem.chunks_a_dispatch <= 2**20


def test_more_heads_than_one_dispatch_can_take_are_refused(monkeypatch):
    q, k, v, _ = random_inputs(40)
    monkeypatch.setattr(flash, "DISPATCH_FLOPS", 3 * 64 * (2 * 64**2 + 2 * 64 * 72))
    with pytest.raises(UnsupportedProblem, match=r"found 4 heads in all.*needs at most 3"):
        linear_attention(q, k, v)


def by_chunk(q, k, v, decay, size=512):
    """FP64 for one head and one factor a head: exact, and fast enough for long sequences."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    state, output = np.zeros((q.shape[1],) * 2), np.empty(q.shape)
    ages = np.arange(size)[:, None] - np.arange(size)[None, :]
    within = np.where(ages >= 0, np.exp(decay * np.maximum(ages, 0)), 0.0)
    since = np.exp(decay * np.arange(1, size + 1))[:, None]
    for first in range(0, len(q), size):
        part = slice(first, first + size)
        output[part] = (q[part] * since) @ state + (q[part] @ k[part].T * within) @ v[part]
        state = state * since[-1] + (k[part] * since[::-1] / since[0]).T @ v[part]
    return output * q.shape[1] ** -0.5


# Without decay outputs grow as the square root of N, to 1400 here, and the rounding of FP32 with
# them: the hardest case for the tolerance.
@pytest.mark.parametrize(
    ("d", "chunk", "decay"),
    [(64, 32, 0.0), (64, 256, 0.0), (128, 128, 0.0), (64, 128, -1e-3)],
)
def test_65536_tokens_keep_their_tolerance(device, d, chunk, decay):
    q, k, v, _ = random_inputs(65536, d, b=1, h=1, seed=4)
    logs = np.array([decay]) if decay else None
    output = linear_attention(q, k, v, chunk=chunk, decay=logs, device=device)
    assert_within_tolerance(output[0, 0], by_chunk(q[0, 0], k[0, 0], v[0, 0], decay))


def test_nothing_is_written_outside_the_output(device):
    q, k, v, _ = random_inputs(77)
    field = np.full(64 + q.size + 512, np.nan, np.float32)
    launch_linear(q, k, v, field[64:], np.zeros((2, 2, 64, 64), np.float32), device=device)
    assert np.isnan(field[:64]).all()
    assert np.isnan(field[64 + q.size :]).all()
    assert_within_tolerance(field[64 : 64 + q.size].reshape(q.shape), recurrence_fp64(q, k, v)[0])


def test_inputs_and_the_initial_state_are_left_unchanged(device):
    q, k, v, decay = random_inputs(40, decay="token")
    state = np.ones((2, 2, 64, 64), np.float32)
    before = [x.copy() for x in (q, k, v, decay, state)]
    linear_attention(q, k, v, decay=decay, initial_state=state, device=device)
    for one, other in zip((q, k, v, decay, state), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_params_are_packed_as_the_kernel_declares_them():
    text = (metal_root() / "linear" / "params.h").read_text()
    body = re.search(r"struct LinearParams \{(.*?)\};", text, re.DOTALL)[1]
    fields = re.findall(r"^\s*(int|float) \w+;", body, re.MULTILINE)
    assert [*fields] == ["int"] * 5 + ["float"]
    assert len(fields) * 4 == linear.PARAMS_BYTES


Q, K, V, _ = random_inputs(5)
REFUSED = {
    "rank 3": (dict(q=Q[0]), "found q of shape (2, 5, 64)"),
    "no token": (dict(q=Q[:, :, :0], k=K[:, :, :0], v=V[:, :, :0]), "no empty dimension"),
    "other lengths": (dict(k=K[:, :, :4]), "needs one shape and type"),
    "other types": (dict(k=K.astype(np.float16)), "needs one shape and type"),
    "float64": (dict(q=Q.astype(float), k=K.astype(float), v=V.astype(float)), "dtype float64"),
    "D=40": (dict(q=Q[..., :40], k=K[..., :40], v=V[..., :40]), "found D=40"),
    "a chunk of 48": (dict(chunk=48), "found chunk=48"),
    "a chunk of 0": (dict(chunk=0), "found chunk=0"),
    "decay of another shape": (dict(decay=np.zeros((2, 5))), "found decay of shape (2, 5)"),
    "decay as a number": (dict(decay=-0.1), "found decay of shape float"),
    "a decay of minus infinity": (dict(decay=np.array([0.0, -np.inf])), "pass -1e4 to forget all"),
    "decay in words": (dict(decay=np.array(["a", "b"])), "needs logarithms"),
    "a state of another shape": (dict(initial_state=np.zeros((2, 64, 64))), "found initial_state"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_kernels_do_not_compute_is_refused_in_one_sentence(device, name):
    change, reason = REFUSED[name]
    with pytest.raises(UnsupportedProblem, match=r"^\[\w+\.\w+\] found .*, needs .*; .*") as caught:
        linear_attention(**(dict(q=Q, k=K, v=V) | change), device=device)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
