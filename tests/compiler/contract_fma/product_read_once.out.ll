; Products that one sum of their block reads are fused, on either side and in differences.
define float @f(float %a, float %b, float %c, float %d) {
entry:
  %ab = fmul float %a, %b
  %sum = call float @llvm.fma.f32(float %a, float %b, float %c)
  %cd = fmul float %c, %d
  %"minus less" = fneg float %c
  %less = call float @llvm.fma.f32(float %"minus less", float %d, float %sum)
  %bd = fmul float %b, %d
  %"minus more" = fneg float %less
  %more = call float @llvm.fma.f32(float %b, float %d, float %"minus more")
  ret float %more
}

declare float @llvm.fma.f32(float, float, float)
