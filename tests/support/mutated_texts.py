"""Texts of kernels with something changed at random: tokens, characters, numbers, whole lines."""

from __future__ import annotations

import random
import re
from functools import cache

from . import msl, random_kernels, random_texts, seeded_faults

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
# What a text is not prepared for: other types and numbers, what opens and does not close.
TOKENS = """
device threadgroup constant const kernel struct union enum static operator auto void goto typedef
sizeof decltype( [[buffer(0)]] [[buffer(99)]] [[threadgroup(0)]] [[function_constant(0)]]
[[stitchable]] __attribute__((x)) half4x4 float3 sampler simdgroup_float8x8 texture2d<float>
atomic_int 1e999999 0x 0xffffffffffffffffffffff { } ( ) [ ] < > ; , :: . -> * & ... # ## ' " /* //
R"( << \0 \x7f \u00e9 \U0001f600
"""
ODD = (
    *random_texts.SCALARS, *random_texts.ODD_WHOLES, *random_texts.ODD_REALS, *TOKENS.split(),
    "template <typename T>", "\\\n", "#define x x x\n", "#if 1\n", "#endif\n", "#pragma unroll\n",
    "#include <metal_stdlib>\n", '#line 9 "x"\n', "1" * 400, "(" * 200,
)  # fmt: skip


@cache
def originals() -> tuple[str, ...]:
    """Texts to change."""
    texts = [msl.read_text(path.name) for path in sorted(msl.FOLDER.glob("*.metal"))]
    texts += [
        seeded_faults.HEAD + fault.kernel(wrong)
        for fault in seeded_faults.ALL
        for wrong in (True, False)
    ]
    return tuple(texts)


def text(seed: int) -> str:
    """The text of a seed."""
    chance = random.Random(seed)
    way = chance.random()
    if way < 0.2:
        changed = random_kernels.kernel(chance.randrange(1000))
        changed = msl.HEAD + changed
    elif way < 0.5:
        changed = random_texts.text(chance.randrange(1000), wild=True)
    else:
        changed = chance.choice(originals())
    tokens = _TOKEN.findall(changed)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        change(tokens, chance)
    changed = "".join(tokens)
    if chance.random() < 0.05:
        changed = changed[: chance.randrange(len(changed))]
    return changed


def change(tokens: list[str], chance: random.Random) -> None:
    """Make one change."""
    at = chance.randrange(len(tokens))
    other = chance.randrange(len(tokens))
    way = chance.randrange(8)
    if way == 0:
        del tokens[at]
    elif way == 1:
        tokens[at] = tokens[other]
    elif way == 2:
        tokens.insert(at, chance.choice(ODD))
    elif way == 3:
        tokens[at] = chance.choice(ODD)
    elif way == 4:
        tokens[at], tokens[other] = tokens[other], tokens[at]
    elif way == 5:
        part = tokens[at : at + chance.randrange(1, 40)]
        tokens[other:other] = part * chance.choice((1, 1, 2, 30))
    elif way == 6:
        del tokens[at : at + chance.randrange(1, 20)]
    else:
        numbers = [i for i, token in enumerate(tokens) if token.isdigit()]
        if numbers:
            tokens[chance.choice(numbers)] = chance.choice(random_texts.ODD_WHOLES)
    if not tokens:
        tokens.append(" ")
