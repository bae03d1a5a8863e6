import ml_dtypes
import pytest
from attnproto import dtypes
from attnproto.compiler.ir import llvm
from attnproto.compiler.tensor_core import emit_mma
from attnproto.kernels.flash_tile import FlashTile, dtype_name
from attnproto.problem import AttentionProblem
from attnproto.reference import tolerance

each = pytest.mark.parametrize("element", dtypes.ELEMENT_TYPES, ids=lambda one: one.name)


@each
def test_the_numbers_are_those_of_the_type_itself(element):
    facts = ml_dtypes.finfo(element.dtype)
    assert element.bits == facts.bits == 8 * element.dtype.itemsize
    assert (element.fraction_bits, element.smallest_exponent) == (facts.nmant, facts.minexp)
    assert element.unit_roundoff == float(facts.eps) / 2


@each
def test_a_type_is_found_by_each_of_its_names(element):
    assert dtypes.BY_NAME[element.name] is dtypes.BY_NUMPY[element.dtype.name] is element
    assert dtype_name(element.dtype) == element.numpy


@each
def test_tolerances_kernels_and_the_tensor_core_know_every_type(element):
    problem = AttentionProblem(1, 1, 1, 4, 4, 8, element.name)
    assert tolerance(problem, *problem.inputs()).rtol > element.unit_roundoff
    assert FlashTile(32, 64, 64, element.numpy).name.split("_")[1] == element.msl
    assert (element.llvm, 8) in emit_mma._MMA


def test_sizes_in_memory_are_llvms():
    for kind, nbytes in dtypes.LLVM_SCALARS.items():
        assert llvm.frame_bytes(f"  %x = alloca {kind}, align 1") == nbytes
