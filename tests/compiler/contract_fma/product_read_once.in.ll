; Products that one sum of their block reads are fused, on either side and in differences.
define float @f(float %a, float %b, float %c, float %d) {
entry:
  %ab = fmul contract float %a, %b
  %sum = fadd contract float %ab, %c
  %cd = fmul contract float %c, %d
  %less = fsub contract float %sum, %cd
  %bd = fmul contract float %b, %d
  %more = fsub contract float %bd, %less
  ret float %more
}
