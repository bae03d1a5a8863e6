; A product that two sums read, one that may not be contracted, and one of another block are not.
define float @f(float %a, float %b, float %c) {
entry:
  %twice = fmul contract float %a, %b
  %one = fadd contract float %twice, %c
  %two = fadd contract float %twice, %one
  %exact = fmul float %a, %c
  %kept = fadd contract float %exact, %two
  %far = fmul contract float %b, %c
  br label %next

next:
  %last = fadd contract float %far, %kept
  ret float %last
}
