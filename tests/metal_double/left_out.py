"""Which test files do not run once more on the double of Metal, as `make metal-test` runs them.

A file that is in neither set runs on both devices, so a new one does.
"""

from __future__ import annotations

from pathlib import Path

# Of the compiler and of its engine, whatever device runs the code.
COMPILER_ALONE = frozenset((
    "compiler", "test_apple_compiled.py", "test_attention_fuzz.py", "test_conformance.py",
    "test_cuda.py", "test_cuda_double.py", "test_divergence.py", "test_examples.py",
    "test_field.py", "test_functions.py", "test_fuzz.py", "test_integers.py", "test_library.py",
    "test_lockstep.py", "test_math.py", "test_matrix.py", "test_messages.py", "test_metallib.py",
    "test_mma.py", "test_model.py", "test_planted_bugs.py", "test_products.py", "test_ptx.py",
    "test_project.py", "test_quads.py", "test_rust.py", "test_settings.py", "test_simd.py",
    "test_site.py", "test_static_code.py", "test_structs.py",
))  # fmt: skip

# No test of theirs asks for Metal, which conftest.py holds them to: what is Python alone, and
# prototypes that are run on the cpu device by its name.
NEVER_METAL = frozenset((
    "test_compile_command.py", "test_crossover.py", "test_documents.py", "test_dtypes.py",
    "test_files.py", "test_includes.py", "test_language.py", "test_layers.py",
    "test_linear_prototype.py", "test_lint.py", "test_measure.py", "test_metrics.py",
    "test_paged_prototype.py", "test_problem.py", "test_prototype_constants.py",
    "test_prototype_stitch.py", "test_published.py", "test_reference.py", "test_report.py",
    "test_rewrite.py", "test_rows.py", "test_score_ways.py", "test_stats.py", "test_stopping.py",
    "test_sweep.py", "test_ulp.py", "test_variants_dispatch.py", "test_variants_prototype.py",
))  # fmt: skip


def left_to_cpu(path: Path) -> bool:
    """Whether a test file, or the folder it is in, does not run on the double."""
    return bool((COMPILER_ALONE | NEVER_METAL).intersection(path.parts))
