"""A warp on the host for the lines that tensor_core/emit_mma.py writes: values have 32 lanes.

The tensor core is taken to be exact within an instruction and to round once, so what a test sees
is what the lines themselves lose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import ml_dtypes
import numpy as np

LANES = np.arange(32)
ROW, PAIR = LANES // 4, LANES % 4  # g and q of the instruction's fragments
_TYPES = {"float": np.float32, "half": np.float16, "bfloat": ml_dtypes.bfloat16}
_OPERAND = re.compile(r"(?:float|i32|half|bfloat|<2 x \w+>|i64) (%[\w.]+|-?[\d.e+]+|poison)")
_SHAPE = re.compile(r"mma\.sync\.aligned\.m16n8k(\d+)\.row\.col\.f32\.(\w+)\.\w+\.f32")


class Warp:
    """Registers by name.

    ``products`` counts the instructions of the tensor core, ``additions`` those beside it.
    """

    def __init__(self, **registers: np.ndarray):
        self.registers = {f"%{name}": value for name, value in registers.items()}
        self.products = self.additions = 0

    def run(self, lines: str) -> None:
        """Run lines of IR; an operation that is not known here is a KeyError."""
        for line in lines.splitlines():
            name, text = line.strip().split(" = ", 1)
            self.registers[name] = self._value(text)

    def matrix(self, names: Sequence[str]) -> np.ndarray:
        """The 8x8 matrix whose elements (g, 2q) and (g, 2q + 1) two registers hold."""
        values = np.empty((8, 8), self.registers[names[0]].dtype)
        for k, name in enumerate(names):
            values[ROW, 2 * PAIR + k] = self.registers[name]
        return values

    def _of(self, text: str, dtype=np.uint32) -> np.ndarray:
        if text in self.registers:
            return self.registers[text]
        return np.full(32, dtype(float(text)) if dtype is np.float32 else int(text) & 0xFFFFFFFF,
                       dtype)  # fmt: skip

    def _value(self, text: str) -> np.ndarray | list[np.ndarray]:
        operation = text.split()[0]
        operands = _OPERAND.findall(text)
        if operation in ("fadd", "fsub"):
            a, b = (self._of(x, np.float32) for x in re.findall(r"%[\w.]+|-?\d[\d.e+]+", text))
            self.additions += operation == "fadd"
            return a + b if operation == "fadd" else a - b
        if operation in ("shl", "and", "add"):
            values = re.findall(r"%[\w.]+|-?\d+(?!\w)", text.split("i32", 1)[1])
            a, b = (self._of(x) for x in values)
            return {"shl": np.left_shift, "and": np.bitwise_and, "add": np.add}[operation](a, b)
        if operation == "insertelement":
            old, new = operands[0], self._of(operands[1], np.float32)
            pair = np.zeros((32, 2), new.dtype) if old == "poison" else self._of(old).copy()
            pair[:, int(text.split()[-1])] = new
            return pair
        if operation == "extractelement":
            return self._of(operands[0])[:, int(text.split()[-1])]
        if operation in ("fptrunc", "fpext"):
            to = re.search(r" to (?:<2 x )?(\w+)", text)[1]
            return self._of(operands[0]).astype(_TYPES[to])
        if operation == "bitcast":
            return self._bits(self._of(operands[0], np.float32), text.rsplit(" to ", 1)[1])
        if operation == "extractvalue":
            name, index = re.search(r"(%[\w.]+), (\d)$", text).groups()
            return self.registers[name][int(index)]
        return self._call(text)

    @staticmethod
    def _bits(value: np.ndarray, to: str) -> np.ndarray:
        kind = re.match(r"(?:<2 x )?(\w+)", to)[1]
        bits = np.ascontiguousarray(value).view(_TYPES.get(kind, np.uint32))
        return bits.reshape(32, 2) if to.startswith("<") else bits.reshape(32)

    def _call(self, text: str) -> np.ndarray | list[np.ndarray]:
        given = [self._of(x, np.float32 if kind == "float" else np.uint32)
                 for kind, x in re.findall(r"(i32|float) (%[\w.]+|-?[\d.e+]+)",
                                           text[text.rindex("("):])]  # fmt: skip
        if "movmatrix" in text:
            halves = given[0].view(np.uint16).reshape(32, 2)
            values = np.empty((8, 8), np.uint16)
            for k in (0, 1):
                values[ROW, 2 * PAIR + k] = halves[:, k]
            turned = np.stack([values[2 * PAIR + k, ROW] for k in (0, 1)], 1)
            return np.ascontiguousarray(turned).view(np.uint32).reshape(32)
        if "llvm.nvvm.prmt" in text:
            halves = np.stack([x.view(np.uint16).reshape(32, 2) for x in given[:2]], 1)
            halves = halves.reshape(32, 4)
            selector = int(given[2][0])
            low, high = ((selector >> 4 & 15) // 2, (selector >> 12 & 15) // 2)
            chosen = np.stack([halves[:, low], halves[:, high]], 1)
            return np.ascontiguousarray(chosen).view(np.uint32).reshape(32)
        depth, kind = _SHAPE.search(text).groups()
        self.products += 1
        return self._multiplied(int(depth), kind, given)

    @staticmethod
    def _multiplied(depth: int, kind: str, given: list[np.ndarray]) -> list[np.ndarray]:
        per = 1 if kind == "tf32" else 2  # elements in a word
        words = depth * 16 // 32 // per
        a, b = np.zeros((16, depth)), np.zeros((depth, 8))
        step = 4 * per  # columns of a block: a quarter of the lanes' words
        for index, word in enumerate(given[: words + words // 2]):
            left = index < words
            elements = _elements(word, kind)
            for k in range(per):
                if left:
                    a[ROW + 8 * (index % 2), step * (index // 2) + per * PAIR + k] = elements[:, k]
                else:
                    b[step * (index - words) + per * PAIR + k, ROW] = elements[:, k]
        addends = given[-4:]
        total = a @ b
        places = [(ROW + 8 * (k // 2), 2 * PAIR + k % 2) for k in range(4)]
        return [
            (total[place] + addend).astype(np.float32)
            for place, addend in zip(places, addends, strict=True)
        ]


def _elements(word: np.ndarray, kind: str) -> np.ndarray:
    """Elements of a register, [32, 1 or 2]."""
    if kind == "tf32":
        return (word & np.uint32(0xFFFFE000)).view(np.float32).reshape(32, 1).astype(np.float64)
    short = {"f16": np.float16, "bf16": ml_dtypes.bfloat16}[kind]
    return np.ascontiguousarray(word).view(short).reshape(32, 2).astype(np.float64)
