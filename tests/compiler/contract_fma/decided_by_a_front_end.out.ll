; What a front end wants fused is, a half in the width of f32; a product beside it is left alone.
define float @f(float %a, float %b, float %c) {
entry:
  %cd = fmul float %c, %c
  %sum = call float @llvm.fma.f32(float %a, float %b, float %cd)
  ret float %sum
}

define <2 x half> @g(<2 x half> %a, <2 x half> %b) {
entry:
  %"x sum" = fpext <2 x half> %a to <2 x float>
  %"y sum" = fpext <2 x half> %b to <2 x float>
  %"z sum" = fpext <2 x half> %a to <2 x float>
  %"fused sum" = call <2 x float> @llvm.fma.v2f32(<2 x float> %"x sum", <2 x float> %"y sum", <2 x float> %"z sum")
  %sum = fptrunc <2 x float> %"fused sum" to <2 x half>
  ret <2 x half> %sum
}


declare <2 x float> @llvm.fma.v2f32(<2 x float>, <2 x float>, <2 x float>)
declare float @llvm.fma.f32(float, float, float)
