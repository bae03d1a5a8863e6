"""Kernels that others published run unmodified and agree with FP64.

The texts are MLX's (tests/support/mlx.py fetches them); only the explicit
instantiations at the end of each are written here (tests/support/mlx_checks.py).
"""

from __future__ import annotations

import os

import attnproto
import pytest
from support import mlx_checks, third_party
from support.mlx_checks import TYPES


@pytest.fixture(scope="module")
def device():
    third_party.MLX.need()
    # The front end is what is tested here; ATTNPROTO_DEVICE chooses another that has it.
    return attnproto.open_device(os.environ.get("ATTNPROTO_DEVICE", "cpu"))


STEEL = [
    (name, d, nq, nkv, causal)
    for name in TYPES
    for d in (64, 128)
    for nq, nkv, causal in ((64, 96, False), (100, 131, False), (77, 77, True), (1, 63, False))
]


@pytest.mark.parametrize(
    ("name", "d", "nq", "nkv", "causal"),
    STEEL,
    ids=[f"{n}-D{d}-Nq{nq}-Nkv{nkv}-causal{int(c)}" for n, d, nq, nkv, c in STEEL],
)
def test_steel_attention_agrees_with_fp64(device, name, d, nq, nkv, causal):
    mlx_checks.check_steel_attention(device, name, d, nq, nkv, causal)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("d", [64, 128])
@pytest.mark.parametrize("causal", [False, True])
def test_sdpa_vector_agrees_with_fp64(device, name, d, causal):
    mlx_checks.check_sdpa_vector(device, name, d, causal)


@pytest.mark.parametrize("name", TYPES)
def test_softmax_agrees_with_fp64(device, name):
    mlx_checks.check_softmax(device, name)


@pytest.mark.parametrize("name", TYPES)
def test_logsumexp_agrees_with_fp64(device, name):
    mlx_checks.check_logsumexp(device, name)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("bn", [1, 4], ids=lambda bn: f"BN{bn}")
def test_gemv_agrees_with_fp64(device, name, bn):
    if bn > 1 and os.environ.get("ATTNPROTO_VALIDATE"):
        # A barrier of it stands where not every thread comes by; test_validation.py shows that.
        device = attnproto.open_device("cpu", validate=False)
    mlx_checks.check_gemv(device, name, bn)
