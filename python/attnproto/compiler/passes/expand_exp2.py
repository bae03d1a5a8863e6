"""exp2 in operations that a code generator can do for all lanes at once.

A polynomial of degree 6 on [-1/2, 1/2], fitted at Chebyshev points with the constant held at
1, so that whole exponents are exact; within 0.8 ulp of the true value. Every engine has the
same, put in after the operations were counted.
"""

from __future__ import annotations

import re

_CALL = "@llvm.exp2.f32("
# From the highest power down, as float64 bits of float32 numbers.
_COEFFICIENTS = (
    "0x3F24440040000000", "0x3F55F08960000000", "0x3F83B2A1C0000000", "0x3FAC6AF6C0000000",
    "0x3FCEBFBE00000000", "0x3FE62E4300000000", "1.0",
)  # fmt: skip


def _function(fused: bool) -> str:
    lines = [
        "define internal float @attn_exp2(float %x) alwaysinline nounwind memory(none) {",
        # Past these the result is 0 and infinity; a NaN is put back at the end.
        "  %low = call float @llvm.maxnum.f32(float %x, float -151.0)",
        "  %in = call float @llvm.minnum.f32(float %low, float 129.0)",
        "  %whole = call float @llvm.rint.f32(float %in)",
        "  %f = fsub float %in, %whole",
    ]
    last = _COEFFICIENTS[0]
    for power, coefficient in enumerate(_COEFFICIENTS[1:], 1):
        if fused:
            step = f"call float @llvm.fma.f32(float {last}, float %f, float {coefficient})"
        else:
            lines.append(f"  %m{power} = fmul float {last}, %f")
            step = f"fadd float %m{power}, {coefficient}"
        last = f"%p{power}"
        lines.append(f"  {last} = {step}")
    lines += [
        # In two steps, of which only the second can leave the normal numbers.
        "  %n = fptosi float %whole to i32",
        "  %half = ashr i32 %n, 1",
        "  %rest = sub i32 %n, %half",
        *_power("half"),
        *_power("rest"),
        f"  %once = fmul float {last}, %half.power",
        "  %twice = fmul float %once, %rest.power",
        "  %none = fcmp uno float %x, 0.0",
        "  %result = select i1 %none, float %x, float %twice",
        "  ret float %result",
        "}",
    ]
    return "\n".join(lines)


def _power(name: str) -> list[str]:
    return [
        f"  %{name}.biased = add i32 %{name}, 127",
        f"  %{name}.bits = shl i32 %{name}.biased, 23",
        f"  %{name}.power = bitcast i32 %{name}.bits to float",
    ]


def expand(text: str, fused: bool) -> str:
    """Replace the calls of exp2 in a module."""
    if f"float {_CALL}" not in text or not re.search(rf"call [^\n]*{re.escape(_CALL)}", text):
        return text
    text = re.sub(r"^declare [^\n]*@llvm\.exp2\.f32\([^\n]*\n", "", text, flags=re.M)
    text = text.replace(_CALL, "@attn_exp2(")
    needed = [("maxnum", 2), ("minnum", 2), ("rint", 1), *([("fma", 3)] if fused else [])]
    declared = [
        f"declare float @llvm.{name}.f32({', '.join(['float'] * count)})"
        for name, count in needed
        if not re.search(rf"^declare .*llvm\.{name}\.f32\(", text, re.M)
    ]
    return "\n".join([text, *declared, _function(fused)]) + "\n"
