"""Features of MSL that the devices of this package leave out, refused by their names."""

from __future__ import annotations

import itertools
import re

from .lexer import RewriteError, Token, angle_close, tokenize

_TEXTURES = "no textures, which this device does not have; read from a buffer"
_GRAPHICS = "kernels, which are all that this device runs; leave out what draws"
_RAYS = "no ray tracing, which this device does not have; intersect in the kernel's own code"
_TENSORS = (
    "no tensors of Metal 4, which this device does not have; use pointers or simdgroup_matrix"
)
_KINDS = ("1d", "1d_array", "2d", "2d_array", "2d_ms", "2d_ms_array", "cube", "cube_array")
_TEMPLATES = {  # with arguments in angle brackets
    **{f"{what}{kind}": _TEXTURES for what in ("texture", "depth") for kind in _KINDS},
    "texture3d": _TEXTURES,
    "texture_buffer": _TEXTURES,
    "imageblock": _GRAPHICS,
    "intersector": _RAYS,
    "intersection_query": _RAYS,
    "intersection_function_table": _RAYS,
    "acceleration_structure": _RAYS,
    "tensor": _TENSORS,
    "cooperative_tensor": _TENSORS,
}
_BEFORE_NAMES = {"sampler": _TEXTURES, "vertex": _GRAPHICS, "fragment": _GRAPHICS}
_NAMESPACES = {"raytracing": _RAYS, "mpp": _TENSORS, "tensor_ops": _TENSORS}
_ATTRIBUTES = {"vertex", "fragment", "mesh", "object"}
_ANY = re.compile(
    rf"\b(?:{'|'.join([*_TEMPLATES, *_BEFORE_NAMES, *_NAMESPACES])})\b"
    rf"|\[\s*\[\s*(?:{'|'.join(_ATTRIBUTES)})\b"
)


def check(text: str) -> None:
    """Refuse a preprocessed text that uses what is left out.

    Raises:
        RewriteError: it does; the sentence names the feature, and its line.
    """
    if not _ANY.search(text):
        return
    tokens = tokenize(text)
    keys = ("struct", "class", "union", "enum", "typename", "using")
    own = {after.text for word, after in itertools.pairwise(tokens) if word.text in keys}
    for i, token in enumerate(tokens[:-1]):
        if token.kind == "name" and token.text not in own:
            cure = _cure(tokens, i)
            if cure:
                raise RewriteError(token, f"found {token.text}, needs {cure}")


def _cure(t: list[Token], i: int) -> str | None:
    """What the text needs instead of the feature that the word stands for; None if for none."""
    word, before, after = t[i].text, t[i - 1].text if i else "", t[i + 1]
    if word in _TEMPLATES and after == "<":
        return _TEMPLATES[word] if angle_close(t, i + 1, expression=True) else None
    if word in _NAMESPACES and (after == "::" or before in ("::", "namespace")):
        return _NAMESPACES[word]
    if word in _ATTRIBUTES and [w.text for w in t[max(i - 2, 0) : i]] == ["[", "["]:
        return _GRAPHICS if after.text in ("]", ",") else None
    return _BEFORE_NAMES.get(word) if after.kind == "name" and before != "." else None
