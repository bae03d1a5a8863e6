"""Instances of MLX's kernel templates: its wheel has the templates, and a host instantiates them.

``T`` stands for each type of ``TYPES``. Templates for the matrix units of Metal 4 are left out, and
hadamard_m, for which MLX's host writes a function.
"""

from __future__ import annotations

TYPES = ("float", "half", "bfloat")

# The headers of a text, and what it instantiates of them.
INSTANCES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("utils.h", "arange.h"): ("arange<T>",),
    ("utils.h", "binary_ops.h", "binary.h"): (
        "binary_ss<T, T, Add>", "binary_sv<T, T, Subtract>", "binary_vs<T, T, Multiply>",
        "binary_vv<T, T, Divide>", "binary_sv2<T, T, Maximum>", "binary_vs2<T, T, Minimum>",
        "binary_vv2<T, T, Power>", "binary_g_nd1<T, T, Remainder>", "binary_g_nd2<T, T, ArcTan2>",
        "binary_g_nd3<T, T, LogAddExp>", "binary_g<T, bool, Less>", "binary_vv<T, bool, NaNEqual>",
    ),
    ("utils.h", "binary_ops.h", "binary_two.h"): (
        "binary_ss<T, T, DivMod>", "binary_sv<T, T, DivMod>", "binary_vs<T, T, DivMod>",
        "binary_vv<T, T, DivMod>", "binary_sv2<T, T, DivMod>", "binary_vs2<T, T, DivMod>",
        "binary_vv2<T, T, DivMod>", "binary_g_nd1<T, T, DivMod>", "binary_g_nd2<T, T, DivMod>",
        "binary_g_nd3<T, T, DivMod>", "binary_g<T, T, DivMod>",
    ),
    ("utils.h", "copy.h"): (
        "copy_s<T, float>", "copy_v<T, half>", "copy_s2<T, bfloat>", "copy_v2<T, int>",
        "copy_g_nd1<T, float>", "copy_g_nd2<T, half>", "copy_g_nd3<T, bfloat>",
        "copy_g<T, complex64_t>", "copy_gg_nd1<T, float>", "copy_gg_nd2<T, half>",
        "copy_gg_nd3<T, bfloat>", "copy_gg<T, int>", "copy_gg_dynamic_nd1<T, float>",
        "copy_gg_dynamic_nd2<T, float>", "copy_gg_dynamic_nd3<T, float>",
        "copy_gg_dynamic<T, float>",
    ),
    ("utils.h", "cross_entropy.h"): ("cross_entropy<T>", "cross_entropy_vjp<T>"),
    ("utils.h", "dot.h"): ("dot_product<T, 4, 256, 8>",),
    ("fft.h",): (
        "fft<256, float2, float2>", "fft<1024, float, float2>", "fft<512, float2, float>",
        "rader_fft<512, float2, float2>", "bluestein_fft<512, float2, float2>",
        "four_step_fft<1024, float2, float2, 0, false>",
        "four_step_fft<1024, float2, float2, 1, false>",
    ),
    ("utils.h", "steel/gemm/gemm.h", "quantized_utils.h", "fp_quantized.h"): (
        "fp_qmv_quad<T, 32, 4, 64, false>", "fp_qmv_fast<T, 32, 4, false>",
        "fp_qmv<T, 16, 4, false>", "fp_qmv_wide<T, 32, 8, 4, 8, false>",
        "fp_qvm<T, 32, 4, false>", "fp_qvm_split_k<T, 32, 8>", "fp_qmm_t<T, 32, 4, true, false>",
        "fp_qmm_n<T, 32, 8, false>", "fp_gather_qmv_fast<T, 32, 4>", "fp_gather_qmv<T, 32, 4>",
        "fp_gather_qvm<T, 32, 4>", "fp_gather_qmm_t<T, 32, 4, false>",
        "fp_qmm_t_splitk<T, 32, 4, true>", "fp_gather_qmm_n<T, 32, 4>",
        "fp_gather_qmm_rhs<T, 32, 4, 16, 32, 32, 1, 2, true>", "fp_quantize<T, 32, 4, false>",
        "fp_dequantize<T, 32, 8, false>", "fp_quantize_dequantize<T, 16, 4, false>",
    ),
    ("gated_delta_update.h",): (
        "gated_delta_fused_chunk<T, 128, 128, 2, 4, 16>", "gated_delta_seq<T, 128, 128, 2, 4, 16>",
    ),
    ("gated_delta_update_vjp.h",): ("gated_delta_vjp_seq<T, 128, 128, 2, 4, 16>",),
    ("utils.h", "gemv.h"): (
        "gemv<T, 8, 1, 1, 32, 4, 4, false, false>", "gemv<T, 2, 4, 1, 32, 4, 4, true, true>",
        "gemv_gather<T, 4, 1, 1, 32, 4, 4>", "gemv_t<T, 1, 2, 8, 4, 4, 4, false, false>",
        "gemv_t_gather<T, 1, 2, 8, 4, 4, 4>", "gemv_wide<T, 4, 8>", "gemv_wide_gather<T, 4, 8>",
    ),
    ("utils.h", "gemv_masked.h"): (
        "gemv_masked<T, bool, bool, 2, 2, 4, 8, 4, 4, false>",
        "gemv_t_masked<T, nomask_t, T, 1, 2, 8, 4, 4, 4, false>",
    ),
    ("utils.h", "steel/utils.h", "hadamard.h"): (
        "hadamard_n<T, 1024, 16, 4>",
    ),
    ("utils.h", "indexing/gather_axis.h"): ("gather_axis<T, uint, int, true, false>",),
    ("utils.h", "indexing/gather_front.h"): ("gather_front<T, int, int64_t, 4>",),
    ("utils.h", "indexing/masked_scatter.h"): ("masked_assign_impl<T, true>",),
    ("utils.h", "atomic.h", "reduction/ops.h", "binary_ops.h", "indexing/scatter.h"): (
        "slice_update_op_impl<T, int, Add, true, false, false, 2, 3>",
    ),
    ("utils.h", "atomic.h", "reduction/ops.h", "indexing/scatter_axis.h"): (
        "scatter_axis<T, uint, int, None, true, false>",
        "scatter_axis<T, int, int64_t, Sum<T>, false, true>",
    ),
    ("utils.h", "logsumexp.h"): ("logsumexp<T>", "logsumexp_looped<T>"),
    ("utils.h", "steel/gemm/gemm.h", "quantized_utils.h", "quantized.h"): (
        "affine_qmv_quad<T, 64, 4, 128, false>", "affine_qmv_fast<T, 32, 4, false>",
        "affine_qmv<T, 64, 3, false>", "affine_qmv_wide<T, 64, 8, 4, 8, false>",
        "affine_qvm<T, 32, 4, true>", "affine_qvm_split_k<T, 64, 2>",
        "affine_qmm_t<T, 64, 4, true, false>", "affine_qmm_t_splitk<T, 32, 8, false>",
        "affine_qmm_n<T, 128, 6, false>", "affine_gather_qmv_fast<T, 64, 4>",
        "affine_gather_qmv<T, 64, 5>", "affine_gather_qvm<T, 32, 2>",
        "affine_gather_qmm_t<T, 64, 4, true>", "affine_gather_qmm_n<T, 64, 8>",
        "affine_gather_qmm_rhs<T, 64, 4, 16, 32, 32, 1, 2, true>", "affine_quantize<T, 64, 4>",
        "affine_dequantize<T, 32, 3>",
    ),
    ("utils.h", "atomic.h", "reduction/ops.h", "reduce_utils.h", "reduce.h"): (
        "all_reduce<T, T, Sum<T>>", "init_reduce<T, Max<T>>",
        "col_reduce_small<T, T, Sum<T>, int, 1>", "col_reduce_longcolumn<T, T, Min<T>, int, 2>",
        "col_reduce_looped<T, T, Prod<T>, int, 1, 32, 32>",
        "col_reduce_2pass<T, T, Max<T>, int, 2, 32, 32>", "row_reduce_small<T, T, Sum<T>, int, 1>",
        "row_reduce_simple<T, T, Max<T>>", "row_reduce_looped<T, T, Sum<T>, int64_t, 2>",
        "all_reduce<T, bool, And<bool>>",
    ),
    ("utils.h", "binary_ops.h", "scan.h"): (
        "contiguous_scan<T, T, CumSum<T>, 4, true, false>",
        "contiguous_scan<T, T, CumProd<T>, 4, false, true>",
        "strided_scan<T, T, CumMax<T>, 4, true, false>",
        "strided_scan<T, T, CumLogaddexp<T>, 2, false, false>",
    ),
    ("utils.h", "sdpa_blocked.h"): ("sdpa_blocked_scale_copy<T>", "sdpa_blocked_causal_mask<T>"),
    ("utils.h", "sdpa_vector.h"): (
        "sdpa_vector<T, 64>", "sdpa_vector<T, 192, 128>", "sdpa_vector_2pass_1<T, 128>",
        "sdpa_vector_2pass_1_gqa<T, 128, 128, 8, 2>", "sdpa_vector_2pass_2<T, 64>",
    ),
    ("utils.h", "sort.h", "searchsorted.h"): ("searchsorted<T, true>", "searchsorted<T, false>"),
    ("utils.h", "softmax.h"): (
        "softmax_single_row<T>", "softmax_single_row<T, float>", "softmax_looped<T>",
        "softmax_looped<T, float>",
    ),
    ("utils.h", "sort.h"): (
        "block_sort<T, uint, true, 128, 4>", "block_sort_nc<T, T, false, 128, 8>",
        "mb_block_sort<T, uint, true, 128, 8>", "mb_block_partition<T, uint, true, 128, 8>",
        "mb_block_merge<T, uint, true, 128, 8>",
    ),
    ("utils.h", "steel/attn/kernels/steel_attention.h"): (
        "attention<T, 32, 32, 64, 64, 4, 1, T, float>",
        "attention<T, 32, 16, 128, 128, 4, 1, bool, float>",
    ),
    ("utils.h", "steel/gemm/gemm.h", "steel/conv/conv.h", "steel/conv/params.h",
     "steel/conv/kernels/steel_conv.h"): (
        "implicit_gemm_conv_2d<T, 32, 32, 16, 2, 2, 0, false>",
        "implicit_gemm_conv_2d<T, 32, 8, 16, 4, 1, 4, true>",
    ),
    ("utils.h", "steel/gemm/gemm.h", "steel/conv/conv.h", "steel/conv/params.h",
     "steel/conv/kernels/steel_conv_3d.h"): (
        "implicit_gemm_conv_3d<T, 32, 32, 16, 2, 2, false>",
    ),
    ("utils.h", "steel/gemm/gemm.h", "steel/conv/conv.h", "steel/conv/params.h",
     "steel/conv/kernels/steel_conv_general.h"): (
        "implicit_gemm_conv_2d_general<T, 32, 32, 16, 2, 2>",
    ),
    ("utils.h", "steel/gemm/gemm.h", "steel/gemm/kernels/steel_gemm_fused.h"): (
        "gemm<T, 32, 32, 16, 2, 2, false, false, float>",
        "gemm<T, 64, 32, 32, 2, 2, false, true, float>",
    ),
    ("utils.h", "steel/gemm/gemm.h", "steel/gemm/kernels/steel_gemm_gather.h"): (
        "gather_mm_rhs<T, 16, 64, 16, 1, 2, false, true, float>",
        "gather_mm<T, 32, 32, 16, 2, 2, false, false, float>",
    ),
    ("utils.h", "steel/gemm/gemm.h", "steel/gemm/kernels/steel_gemm_masked.h"): (
        "block_masked_gemm<T, bool, bool, 32, 32, 16, 2, 2, false, false, true, true>",
        "block_masked_gemm<T, nomask_t, T, 32, 32, 16, 2, 2, false, true, false, false>",
    ),
    ("utils.h", "steel/gemm/gemm.h", "steel/gemm/kernels/steel_gemm_segmented.h"): (
        "segmented_mm<T, 32, 32, 16, 2, 2, false, false, float>",
    ),
    ("utils.h", "steel/gemm/gemm.h", "steel/gemm/kernels/steel_gemm_splitk.h"): (
        "gemm_splitk<T, float, 32, 32, 16, 2, 2, false, false, false, true>",
        "gemm_splitk_accum<float, T>", "gemm_splitk_accum_axpby<float, T>",
    ),
    ("utils.h", "ternary_ops.h", "ternary.h"): (
        "ternary_v<T, Select, false, false>", "ternary_v2<T, Select, true, false>",
        "ternary_g_nd1<T, Select>", "ternary_g_nd2<T, Select>", "ternary_g_nd3<T, Select>",
        "ternary_g<T, Select>",
    ),
    ("utils.h", "unary_ops.h", "unary.h"): (
        "unary_v<T, T, Exp>", "unary_v2<T, T, Tanh>", "unary_g<T, T, Erf>", "unary_v<T, T, Sin>",
        "unary_v<T, T, Log1p>", "unary_v<T, T, Expm1>", "unary_v<T, T, ErfInv>",
        "unary_v<T, T, Sigmoid>", "unary_v<T, T, Round>", "unary_v<T, T, Rsqrt>",
    ),
}  # fmt: skip
