"""What rows of the Burn prototype allow to conclude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attnproto.prototypes.rows import Case, keys, right, several, worst
from attnproto.results.findings import Effect, Evidence, Finding

_TAGS = ["burn", "rust"]
_WHOSE = {
    "cpu": "it is an emulation, and says nothing about Metal's dispatch",
    "metal": "what is left holds Metal's encoding, commit and wait",
    "cuda": "what is left holds copies to and from the GPU, which has memory of its own",
}


def conclude(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Draw the findings of one device's rows."""
    case = Case(rows)
    if not right(case.of("road")):
        return []
    return [*_viable(case), *_code(case), *_cost(case)]


def _viable(case: Case) -> list[Finding]:
    rows, code = case.of("road"), case.of("code")
    if not right(code):
        return []
    largest, versions = worst(rows, "worst_ratio"), code[0]["result"]["versions"]
    return [
        case.finding(
            domain="metal-compute",
            topic="trait-viable",
            title="trait AttentionBackend: Backend works on Burn without a fork",
            content=(
                f"With {versions}, flash attention reaches prototype 1's kernel through a C ABI "
                "with no Python in the process, by a direct implementation for NdArray, by a "
                "newtype that is itself a Backend, and by Burn's own module::attention on that "
                "newtype, so a model written for any backend uses the kernel unchanged. What no "
                "variant computes, and causal attention of Nq other than Nkv, whose mask Burn "
                "counts from the first key and this kernel from the last, is the inner backend's. "
                f"All {len(rows)} cases agree with FP64; the worst error is {largest:.2g} of what "
                "is allowed."
            ),
            tags=[*_TAGS, "extension-trait", "correctness"],
            evidence=Evidence(
                kind="correctness",
                compared="each road's output with FP64 softmax attention of the same inputs",
                regime=(
                    f"D {several(rows, 'D')}, Nq {several(rows, 'Nq')}, Nkv "
                    f"{several(rows, 'Nkv')}, f32, causal and not"
                ),
                overturned_by=(
                    "a road that misses the tolerance, or Burn 0.22 and later, whose Tensor has no "
                    "backend parameter"
                ),
                rows=keys([*rows, *code]),
                effect=Effect(name="worst error over allowed error", value=largest, unit=""),
                n=len(rows),
            ),
        )
    ]


def _code(case: Case) -> list[Finding]:
    rows = case.of("code")
    if not right(rows):
        return []
    result = rows[0]["result"]
    methods, lines = result["delegated_methods"], result["delegate_lines"]
    return [
        case.finding(
            tier="derived",
            domain="metal-compute",
            topic="newtype-cost",
            title=f"A Burn backend newtype is {methods} delegated methods; a direct trait is none",
            content=(
                "The orphan rule does not force a newtype: the trait is ours, so it can be "
                f"implemented for NdArray directly, in {result['trait_lines']} lines with the "
                "kernel's launch. A newtype that is a Backend, to override module::attention, "
                f"passes {methods} methods on in {lines} formatted lines, plus "
                f"{result['wrapper_lines']} of its own; they follow {result['versions']} and must "
                "follow each later version."
            ),
            tags=[*_TAGS, "orphan-rule", "newtype", "complexity"],
            evidence=Evidence(
                kind="count",
                compared="methods and lines of the delegation with those of the direct trait",
                regime=result["versions"],
                overturned_by="a Burn whose backends can be extended without delegation",
                rows=keys(rows),
                effect=Effect(name="delegated methods", value=methods, unit="methods"),
                n=1,
            ),
        )
    ]


def _cost(case: Case) -> list[Finding]:
    findings = []
    for row in case.of("cost"):
        if row["status"] != "ok":
            continue
        got, n = row["result"], row["point"]["N"]
        findings.append(
            case.finding(
                tier="measured",
                # Measured on this host's processor; an M4's is another.
                about_measured_device=False,
                domain="gpu-perf",
                topic=f"overhead-n{n}",
                title=f"Burn's API costs {got['tensor_api_us']:.3g} us of host time at N {n}",
                content=(
                    f"On this host's processor, for one head of N {n}, D 64 in f32: a C ABI call "
                    f"that does nothing takes {got['nothing_us']:.2g} us, a dispatch through it "
                    f"{got['c_abi_us']:.3g} us besides the device's own time, the trait with "
                    f"tensors moved in and out {got['trait_us']:.3g} us more, and copying tensors "
                    f"that are still shared {got['copies_us']:.3g} us on top, since NdArray reads "
                    "those element by element. In all, module::attention on the newtype costs "
                    f"{got['tensor_api_us']:.3g} us, with shared tensors "
                    f"{got['tensor_api_copied_us']:.3g} us. The device's own time is left out; "
                    f"{_WHOSE[case.device.kind]}."
                ),
                tags=[*_TAGS, "overhead", "ffi"],
                evidence=Evidence(
                    kind="cost",
                    compared="times of the roads, taken in turns, minus the device's own time",
                    regime=f"N {n}, D 64, f32, release build",
                    overturned_by="another host, allocator or version of Burn",
                    rows=keys([row]),
                    effect=Effect(
                        name="host time of the tensor API",
                        value=got["tensor_api_us"],
                        unit="us",
                        low=got["tensor_api_low_us"],
                        high=got["tensor_api_high_us"],
                    ),
                    n=got["n"],
                    cv=got["cv"],
                ),
            )
        )
    return findings
