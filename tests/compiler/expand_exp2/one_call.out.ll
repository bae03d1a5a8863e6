; A call of exp2 becomes a polynomial that every engine has; exp of a half is left alone.
declare half @llvm.exp.f16(half)

define float @f(float %x, half %h) {
entry:
  %y = tail call contract float @attn_exp2(float %x)
  %e = call half @llvm.exp.f16(half %h)
  %w = fpext half %e to float
  %z = fadd float %y, %w
  ret float %z
}

declare float @llvm.maxnum.f32(float, float)
declare float @llvm.minnum.f32(float, float)
declare float @llvm.rint.f32(float)
declare float @llvm.fma.f32(float, float, float)
define internal float @attn_exp2(float %x) alwaysinline nounwind memory(none) {
  %low = call float @llvm.maxnum.f32(float %x, float -151.0)
  %in = call float @llvm.minnum.f32(float %low, float 129.0)
  %whole = call float @llvm.rint.f32(float %in)
  %f = fsub float %in, %whole
  %p1 = call float @llvm.fma.f32(float 0x3F24440040000000, float %f, float 0x3F55F08960000000)
  %p2 = call float @llvm.fma.f32(float %p1, float %f, float 0x3F83B2A1C0000000)
  %p3 = call float @llvm.fma.f32(float %p2, float %f, float 0x3FAC6AF6C0000000)
  %p4 = call float @llvm.fma.f32(float %p3, float %f, float 0x3FCEBFBE00000000)
  %p5 = call float @llvm.fma.f32(float %p4, float %f, float 0x3FE62E4300000000)
  %p6 = call float @llvm.fma.f32(float %p5, float %f, float 1.0)
  %n = fptosi float %whole to i32
  %half = ashr i32 %n, 1
  %rest = sub i32 %n, %half
  %half.biased = add i32 %half, 127
  %half.bits = shl i32 %half.biased, 23
  %half.power = bitcast i32 %half.bits to float
  %rest.biased = add i32 %rest, 127
  %rest.bits = shl i32 %rest.biased, 23
  %rest.power = bitcast i32 %rest.bits to float
  %once = fmul float %p6, %half.power
  %twice = fmul float %once, %rest.power
  %none = fcmp uno float %x, 0.0
  %result = select i1 %none, float %x, float %twice
  ret float %result
}
