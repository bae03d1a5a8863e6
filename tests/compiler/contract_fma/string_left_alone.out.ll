; What stands in quotes is not the flag, though it is spelled like it.
@line = private constant [22 x i8] c"float a contract b;\00\00\00"

define float @f(float %a, float %b) {
entry:
  %ab = fmul float %a, %b
  %sum = call float @llvm.maxnum.f32(float %ab, float %b)
  ret float %sum
}

declare float @llvm.maxnum.f32(float, float)

