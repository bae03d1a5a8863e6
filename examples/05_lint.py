"""What Apple's compiler refuses, found where there is no Mac: by line, rule and cure."""

import attnproto

TEXT = """#include <metal_stdlib>
using namespace metal;

kernel void mixed(device const bfloat* x [[buffer(0)]], device bfloat* y [[buffer(1)]],
                  uint i [[thread_position_in_grid]]) {
  double wide = x[i];
  bfloat low = -INFINITY;
  y[i] = max(low, bfloat(wide));
}
"""
MENDED = TEXT.replace("double wide", "float wide").replace("-INFINITY", "bfloat(-INFINITY)")


def main() -> None:
    """Lint a text that clang alone would take, and the same text mended."""
    mistakes = attnproto.lint(TEXT)
    for mistake in mistakes:
        print(f"line {mistake.line}, {mistake.rule}: {mistake.message}")
    assert {mistake.line for mistake in mistakes} >= {6, 7}
    assert not [m for m in attnproto.lint(MENDED) if m.severity == "error"]
    print("mended: no error left; from a shell: attnproto lint kernel.metal")


if __name__ == "__main__":
    main()
