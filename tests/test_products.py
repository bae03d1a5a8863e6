"""Products of simdgroup matrices in the arrangements that batching them must get right."""

from __future__ import annotations

import numpy as np
import pytest
from support.conformance import conformance_device
from support.matrices import assert_matrices_close, nan_matrices, random_matrices
from support.msl import HEAD, launch_threadgroup, read_text
from support.product_program import Program


@pytest.fixture(scope="module")
def device():
    return conformance_device()


TEXT = read_text("products.metal")


@pytest.fixture(scope="module")
def library(device):
    return device.library(TEXT)


def test_the_result_may_be_any_of_the_operands(device, library):
    given, out = random_matrices(3), nan_matrices(6)
    launch_threadgroup(device, library, "aliased", given, out, threads=32)
    a, b, c = given.astype(np.float64)
    c = a @ b + c
    a2 = a @ b + c
    b2 = a2 @ b
    a3 = a2 @ a2 + a2
    d = 2 * b2 + np.eye(8)
    assert_matrices_close(out, [c, a2, b2, a3, d, c @ d], 1e-4)


@pytest.mark.parametrize("turns", [0, 1, 7, 200])
def test_an_accumulator_is_carried_through_a_loop(device, library, turns):
    a, b, out = random_matrices(200, 1), random_matrices(200, 2), nan_matrices(1)
    launch_threadgroup(device, library, "chain", a, b, out, np.int32(turns), threads=32)
    assert_matrices_close(
        out[0], np.einsum("nij,njk->ik", *(x[:turns].astype(np.float64) for x in (a, b))), 1e-4
    )


def test_a_block_may_hold_more_products_than_a_batch(device, library):
    rng = np.random.default_rng(3)
    a = rng.standard_normal((64, 32)).astype(np.float32)
    b = rng.standard_normal((32, 64)).astype(np.float32)
    out = np.full((64, 64), np.nan, np.float32)
    launch_threadgroup(device, library, "tile", a, b, out, threads=32)
    assert_matrices_close(out, a.astype(np.float64) @ b)


def test_a_block_may_hold_more_accumulators_than_slots(device, library):
    given, out = random_matrices(24), nan_matrices(144)
    launch_threadgroup(device, library, "wide", given, out, threads=32)
    left, right = given[:12].astype(np.float64), given[12:].astype(np.float64)
    expected = [left[i] @ right[j] + left[j] @ right[i] for i in range(12) for j in range(12)]
    assert_matrices_close(out, expected)


def test_an_accumulator_read_after_every_product_keeps_every_value(device, library):
    given, out = random_matrices(3), nan_matrices(150)
    launch_threadgroup(device, library, "read_each", given, out, threads=32)
    flat = given.astype(np.float64).ravel()
    total, expected = np.zeros((8, 8)), []
    for i in range(150):
        right = flat[64 + 8 * (i % 9) :][:64].reshape(8, 8)
        total = total + given[0].astype(np.float64) @ right
        expected.append(total)
    assert_matrices_close(out, expected, 1e-4)


def test_several_products_may_continue_one_accumulator(device, library):
    given, out = random_matrices(3), nan_matrices(4)
    launch_threadgroup(device, library, "forked", given, out, threads=32)
    a, b, c = given.astype(np.float64)
    first = a @ b + c
    assert_matrices_close(out, [first + a @ a, first + b @ a, first + c @ a, b @ b + c])


@pytest.mark.parametrize("which", [0, 1, 5])
def test_simdgroups_may_take_different_branches_with_products(device, library, which):
    given, out = random_matrices(2), nan_matrices(3)
    launch_threadgroup(device, library, "branch", given, out, np.int32(which), threads=96)
    a, b = given.astype(np.float64)
    taken = (a @ b + np.eye(8) + (b @ a if which else 0)) @ a
    assert_matrices_close(out, [taken if which == i else b @ b @ a for i in range(3)], 1e-4)


PROGRAMS = {seed: Program(seed) for seed in range(20)}


@pytest.fixture(scope="module")
def programs(device):
    text = (
        HEAD
        + """typedef simdgroup_float8x8 M;
thread float2& pair(thread M& m) { return reinterpret_cast<thread float2&>(m.thread_elements()); }
void halve(thread M& m) { pair(m) *= 0.5f; }
"""
    )
    return device.library(text + "".join(p.text() for p in PROGRAMS.values()))


@pytest.mark.parametrize("seed", PROGRAMS)
def test_a_random_program_of_products_agrees_with_numpy(device, programs, seed):
    program = PROGRAMS[seed]
    given = (random_matrices(8, seed + 1) * np.float32(8**-0.5)).astype(np.float32)
    out = nan_matrices(program.registers)
    launch_threadgroup(device, programs, program.name, given, out, np.int32(2), threads=32)
    expected, size = program.run(given)
    assert (np.abs(out - expected) <= 1e-4 * size).all()
