"""Symbols that compiled code and the engine share."""

from __future__ import annotations


def entry_name(number: int) -> str:
    """Symbol of the entry point of the ``number``-th kernel of a text."""
    return f"attn_entry_{number}"


def is_entry(symbol: str) -> bool:
    """Whether it is an entry point, of a lane or of a simdgroup."""
    return symbol.startswith("attn_entry_")


def launch_name(number: int) -> str:
    """Symbol that a GPU's driver launches for the ``number``-th kernel of a text."""
    return f"attn_launch_{number}"
