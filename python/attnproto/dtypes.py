"""Element types of tensors: what each is called, and how it holds a number.

One line a type. A new one is added here; tolerances, which are judged and not known, stand in
``reference.tolerance``, and what a kernel's template takes is said by the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ElementType:
    """A binary floating-point type.

    Attributes:
        name: In points, rows and messages.
        numpy: numpy's name of it, or ml_dtypes' where numpy has none.
        bits: Of an element.
        fraction_bits: Stored bits of the fraction.
        smallest_exponent: Of the smallest normal number.
        msl: In MSL and in kernels' names.
        llvm: In LLVM IR.
        mma: As an operand of PTX's ``mma``, which reads a float's upper 19 bits.

    Source: IEEE 754-2019, table 3.5; bfloat16 keeps binary32's exponent. PTX ISA, mma.
    """

    name: str
    numpy: str
    bits: int
    fraction_bits: int
    smallest_exponent: int
    msl: str
    llvm: str
    mma: str

    @property
    def nbytes(self) -> int:
        """Bytes of an element."""
        return self.bits // 8

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding to nearest, of a normal number."""
        return 2.0 ** -(self.fraction_bits + 1)

    @cached_property
    def dtype(self) -> np.dtype:
        """What arrays of it have; numpy and ml_dtypes are imported when it is asked for."""
        import ml_dtypes
        import numpy as np

        return np.dtype(getattr(np, self.numpy, None) or getattr(ml_dtypes, self.numpy))


ELEMENT_TYPES = (
    ElementType("f16", "float16", 16, 10, -14, "half", "half", "f16"),
    ElementType("bf16", "bfloat16", 16, 7, -126, "bfloat", "bfloat", "bf16"),
    ElementType("f32", "float32", 32, 23, -126, "float", "float", "tf32"),
)
BY_NAME = {one.name: one for one in ELEMENT_TYPES}
BY_NUMPY = {one.numpy: one for one in ELEMENT_TYPES}


def name_of(dtype: np.dtype) -> str:
    """An array's type as messages name it: numpy's name, and the byte order where it is foreign."""
    return dtype.name if dtype.isnative else f"{dtype.name} of foreign byte order"


# What LLVM IR computes with beside them: bytes in memory, of floats and of all scalars.
LLVM_FLOATS = {**{one.llvm: one.nbytes for one in ELEMENT_TYPES}, "double": 8}
LLVM_SCALARS = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "ptr": 8, **LLVM_FLOATS}
# For patterns over IR: any element type, and those that a float holds exactly.
ANY_LLVM = "|".join(one.llvm for one in ELEMENT_TYPES)
NARROW_LLVM = tuple(one.llvm for one in ELEMENT_TYPES if one.bits < 32)
