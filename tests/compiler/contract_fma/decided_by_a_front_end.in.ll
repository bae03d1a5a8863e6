; What a front end wants fused is, a half in the width of f32; a product beside it is left alone.
define float @f(float %a, float %b, float %c) {
entry:
  %cd = fmul float %c, %c
  %sum = call float @llvm.fmuladd.f32(float %a, float %b, float %cd)
  ret float %sum
}

define <2 x half> @g(<2 x half> %a, <2 x half> %b) {
entry:
  %sum = call <2 x half> @llvm.fmuladd.v2f16(<2 x half> %a, <2 x half> %b, <2 x half> %a)
  ret <2 x half> %sum
}

declare float @llvm.fmuladd.f32(float, float, float)
declare <2 x half> @llvm.fmuladd.v2f16(<2 x half>, <2 x half>, <2 x half>)
