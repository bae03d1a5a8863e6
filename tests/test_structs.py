import llvmlite.binding as llvm
import pytest
from attnproto import _core
from attnproto.compiler.ir.llvm import initialise, target_machine
from attnproto.compiler.ir.structs import struct, table

COUNTED = {
    "description": "@text", "segments": "@text", "accesses": "@text",
    "segment_count": 1, "access_count": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "pointers", "nbytes"),
    [
        (_core.SITE, {"source", "tables"}, _core.SITE_BYTES),
        (_core.CONSTANT_TABLE, {"begin", "end"}, 16),
        (_core.COUNTED_SEGMENT, set(), 12),
        (_core.COUNTED_ACCESS, set(), 12),
        (_core.COUNTED_KERNEL, {"description", "segments", "accesses"}, 32),
    ],
    ids=["site", "constant table", "segment", "access", "kernel"],
)
def test_llvm_lays_a_struct_out_as_the_engine_does(layout, pointers, nbytes):
    values = {name: "@text" if name in pointers else n for n, name in enumerate(layout)}
    value = struct(layout, **values)
    initialise()
    text = f'@text = private constant [1 x i8] c"x"\n{table("@made", [value, value], "weak")}'
    module = llvm.parse_assembly(text)
    data = target_machine(0).target_data
    kind = module.get_global_variable("made").global_value_type
    assert data.get_abi_size(kind) == 2 * nbytes
    order = sorted(layout, key=layout.get)
    inner = next(kind.elements)
    assert [data.get_element_offset(inner, n) for n in range(len(order))] == [
        layout[name] for name in order
    ]


def test_a_field_too_few_too_many_or_of_another_size_is_refused():
    struct(_core.COUNTED_KERNEL, **COUNTED)
    without = {name: value for name, value in COUNTED.items() if name != "segments"}
    with pytest.raises(ValueError, match="no field segments"):
        struct(_core.COUNTED_KERNEL, **without)
    with pytest.raises(ValueError, match="extra"):
        struct(_core.COUNTED_KERNEL, **COUNTED, extra=1)
    with pytest.raises(ValueError, match="no field segments at byte 4"):
        struct(_core.COUNTED_KERNEL, **{**COUNTED, "description": 1})
