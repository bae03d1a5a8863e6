"""Products as they are written for the tensor core, run on the host (support/warp.py)."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from attnproto.compiler.tensor_core.emit_mma import Product, Writer
from support.warp import PAIR, ROW, Warp

_ZEROS = ("0.000000e+00", "0.000000e+00")
TYPES = {"half": np.float16, "bfloat": ml_dtypes.bfloat16, "float": np.float32}
# Of the sum of |a b|: what a product of floats may leave out, what one of a float and a narrow
# element may, and one rounding of the result.
LEFT_OUT, LEFT_OUT_BESIDE_NARROW, ROUNDING = 2.0**-25, 2.0**-23, 2.0**-24


class Chain:
    """Products a[k] b[k] of one accumulator, from ``start`` on."""

    def __init__(self, name: str, a: np.ndarray, b: np.ndarray, kinds=("float", "float"),
                 start: np.ndarray | None = None):  # fmt: skip
        self.a, self.b, self.start = a, b, start
        self.registers, self.products = {}, []
        addend = _ZEROS
        if start is not None:
            addend = self._hold(f"{name}.start", start)
        for k, (left, _) in enumerate(zip(a, b, strict=True)):
            operands = self._hold(f"{name}.a{k}", left), (f"%b{k}.0", f"%b{k}.1")
            product = Product(f"%{name}{k}", k, *operands, *kinds, addend)
            product.results = [f"%{name}.sum{k}.0", f"%{name}.sum{k}.1"]
            addend = tuple(product.results)
            self.products.append(product)

    def _hold(self, name: str, matrix: np.ndarray) -> tuple[str, str]:
        for k in (0, 1):
            self.registers[f"{name}.{k}"] = matrix[ROW, 2 * PAIR + k]
        return f"%{name}.0", f"%{name}.1"

    def paired(self) -> list[Product]:
        """Two of them share the instruction; returns those that lead."""
        leads = self.products[::2]
        for product, then in zip(leads, self.products[1::2], strict=False):
            product.then, then.absorbed = then, True
        return leads

    def carried(self) -> list[Product]:
        leads = self.paired()
        for product, following in itertools.pairwise(leads):
            product.next = following
        return leads

    def error(self, warp: Warp) -> np.ndarray:
        """The result less that of FP64, as a share of the sum of |a b|."""
        a, b = (x.astype(np.float64) for x in (self.a, self.b))
        start = 0 if self.start is None else self.start.astype(np.float64)
        wanted = np.einsum("kmi,kin->mn", a, b) + start
        size = np.einsum("kmi,kin->mn", abs(a), abs(b)) + abs(start)
        return (warp.matrix(self.products[-1].results) - wanted) / size

    def check(self, warp: Warp, left_out: float = LEFT_OUT) -> None:
        """The result against FP64."""
        worst = abs(self.error(warp)).max()
        # A rounding for each product that is added.
        assert worst <= left_out + (len(self.a) + 1) * ROUNDING


def right_registers(b: np.ndarray, read: bool):
    """A right operand's registers, and those that the writer is told of as read already."""
    registers, known = {}, {}
    for k, matrix in enumerate(b):
        names = f"%b{k}.0", f"%b{k}.1"
        for j in (0, 1):
            registers[f"b{k}.{j}"] = matrix[ROW, 2 * PAIR + j]
            if read and b.dtype == np.float32:
                registers[f"b{k}.read{j}"] = matrix[2 * PAIR + j, ROW]
        if read and b.dtype == np.float32:
            known[names] = [f"%b{k}.read0", f"%b{k}.read1"]
        elif read:
            both = np.stack([matrix[2 * PAIR + j, ROW] for j in (0, 1)], 1)
            registers[f"b{k}.word"] = np.ascontiguousarray(both).view(np.uint32).reshape(32)
            known[names] = [f"%b{k}.word"]
    return registers, known


def rows_apart(b: np.ndarray):
    """Registers of words that hold an element of two narrow right operands, of either row."""
    registers, known = {}, {}
    for k in range(0, len(b), 2):
        words = []
        for j in (0, 1):
            both = np.stack([matrix[2 * PAIR + j, ROW] for matrix in b[k : k + 2]], 1)
            words.append(f"%b{k}.row{j}")
            registers[words[j][1:]] = np.ascontiguousarray(both).view(np.uint32).reshape(32)
        known[(f"%b{k}.0", f"%b{k}.1"), (f"%b{k + 1}.0", f"%b{k + 1}.1")] = words
    return registers, known


def run(
    chains: list[Chain], leads: list[Product], b: np.ndarray, read: bool = True, apart: bool = False
) -> Warp:
    registers, known = right_registers(b, read)
    more, words = rows_apart(b) if apart else ({}, {})
    for chain in chains:
        registers |= chain.registers
    warp, writer = Warp(**registers, **more), Writer(known, words)
    for product in leads:
        if not product.absorbed:
            warp.run(writer.write(product))
    return warp


def drawn(count: int, dtype=np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 8, 8)).astype(dtype)


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("kinds", list(itertools.product(TYPES, TYPES)), ids="-".join)
def test_a_product_of_any_kinds_is_that_of_fp64(kinds, read):
    a, b = drawn(1, TYPES[kinds[0]]), drawn(1, TYPES[kinds[1]], 1)
    chain = Chain("p", a, b, kinds, start=drawn(1, seed=2)[0])
    warp = run([chain], chain.products, b, read)
    one_is_float = (kinds[0] == "float") != (kinds[1] == "float")
    chain.check(warp, LEFT_OUT_BESIDE_NARROW if one_is_float else LEFT_OUT)


@pytest.mark.parametrize("kinds", [("float", "half"), ("half", "float")], ids="-".join)
def test_what_is_lost_of_a_float_beside_a_narrow_element_has_no_sign(kinds):
    # What is lost with one sign would grow with the length of a sum.
    errors = []
    for seed in range(8):
        a, b = (abs(drawn(1, TYPES[kind], seed)) for kind in kinds)
        chain = Chain("p", a, b, kinds)
        errors.append(chain.error(run([chain], chain.products, b)))
    assert abs(np.mean(errors)) < LEFT_OUT_BESIDE_NARROW / 16


@pytest.mark.parametrize("count", [2, 4, 8])
def test_what_is_carried_is_not_lost(count):
    b = drawn(count, seed=1)
    chain = Chain("p", drawn(count), b)
    warp = run([chain], chain.carried(), b)
    chain.check(warp)
    assert warp.products == 2 * count


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("kind", ["half", "bfloat"])
@pytest.mark.parametrize(("count", "additions"), [(2, 2), (16, 2), (18, 4), (34, 6)])
def test_narrow_products_are_added_once_in_eight_instructions(kind, count, additions, apart):
    b = drawn(count, TYPES[kind], 1)
    chain = Chain("p", drawn(count, TYPES[kind]), b, (kind, kind), start=drawn(1, seed=2)[0])
    warp = run([chain], chain.carried(), b, apart=apart)
    chain.check(warp)
    assert (warp.products, warp.additions) == (count // 2, additions)


@pytest.mark.parametrize("apart", [False, True])
def test_two_narrow_chains_fill_the_upper_and_the_lower_rows(apart):
    b, kinds = drawn(4, np.float16, 1), ("half", "half")
    upper = Chain("u", drawn(4, np.float16), b, kinds)
    lower = Chain("l", drawn(4, np.float16, 3), b, kinds, start=drawn(1)[0])
    leads = upper.carried()
    for above, below in zip(leads, lower.carried(), strict=True):
        above.below, below.absorbed = below, True
    warp = run([upper, lower], leads, b, apart=apart)
    upper.check(warp)
    lower.check(warp)
    # -0 is added to what began at zero, which is no instruction.
    assert (warp.products, warp.additions) == (2, 4)


def test_two_chains_with_the_same_right_operands_take_three_instructions_for_four_products():
    b = drawn(4, seed=1)
    upper, lower = Chain("u", drawn(4), b), Chain("l", drawn(4, seed=3), b, start=drawn(1)[0])
    leads = upper.carried()
    for above, below in zip(leads, lower.carried(), strict=True):
        above.below, below.absorbed = below, True
    warp = run([upper, lower], leads, b)
    upper.check(warp)
    lower.check(warp)
    assert warp.products == 3 * 4


@pytest.mark.parametrize("kind", ["half", "float"])
def test_a_chain_whose_rows_change_ends_what_it_carries(kind):
    b = drawn(4, TYPES[kind], 1)
    upper, lower, third = (
        Chain(name, drawn(4, TYPES[kind], k), b, (kind, kind)) for k, name in enumerate("ult")
    )
    (u0, u1), (l0, l1), (t0, t1) = (chain.carried() for chain in (upper, lower, third))
    # u shares the instruction first with l, then with t, which stood alone as l does at the end.
    u0.below, l0.absorbed = l0, True
    u1.below, t1.absorbed = t1, True
    warp = run([upper, lower, third], [u0, t0, u1, l1], b)
    for chain in (upper, lower, third):
        chain.check(warp)


@pytest.mark.parametrize("kind", ["half", "float"])
def test_a_chain_that_is_joined_by_another_ends_what_it_carries(kind):
    b = drawn(4, TYPES[kind], 1)
    upper, lower = (Chain(name, drawn(4, TYPES[kind], k), b, (kind, kind)) for name, k in
                    (("u", 0), ("l", 3)))  # fmt: skip
    (u0, u1), (l0, l1) = upper.carried(), lower.carried()
    u1.below, l1.absorbed = l1, True
    warp = run([upper, lower], [u0, l0, u1], b)
    upper.check(warp)
    lower.check(warp)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("count", [1, 2])
def test_every_bit_of_a_float_takes_part(side, count):
    matrices = drawn(count)
    ones = np.broadcast_to(np.eye(8, dtype=np.float32), matrices.shape)
    if count == 2:  # the sum of both would need more than 24 bits
        ones = ones * np.array([1, 0], np.float32)[:, None, None]
    a, b = (matrices, ones) if side == "left" else (ones, matrices)
    chain = Chain("p", a, b)
    warp = run([chain], chain.paired() if count == 2 else chain.products, b)
    np.testing.assert_array_equal(warp.matrix(chain.products[-1].results), matrices[0])
