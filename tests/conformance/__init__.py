"""Kernels that others published, as they published them: compiled, linted, run and validated.

    make conformance

prints a table a layer and keeps the newest in docs/conformance.md. ``texts.py`` has the texts of
each project, ``compilation.py`` compiles and lints them, ``cases`` run them against FP64.
"""
