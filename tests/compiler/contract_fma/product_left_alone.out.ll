; A product that two sums read, one that may not be contracted, and one of another block are not.
define float @f(float %a, float %b, float %c) {
entry:
  %twice = fmul float %a, %b
  %one = fadd float %twice, %c
  %two = fadd float %twice, %one
  %exact = fmul float %a, %c
  %kept = fadd float %exact, %two
  %far = fmul float %b, %c
  br label %next

next:
  %last = fadd float %far, %kept
  ret float %last
}

