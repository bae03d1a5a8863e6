; A call of exp2 becomes a polynomial that every engine has; exp of a half is left alone.
declare float @llvm.exp2.f32(float)
declare half @llvm.exp.f16(half)

define float @f(float %x, half %h) {
entry:
  %y = tail call contract float @llvm.exp2.f32(float %x)
  %e = call half @llvm.exp.f16(half %h)
  %w = fpext half %e to float
  %z = fadd float %y, %w
  ret float %z
}
