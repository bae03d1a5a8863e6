; Two products on one accumulator are one batch: the lanes meet once.
%struct.attn_pair = type { float, float }

declare %struct.attn_pair @attn_matrix_multiply_accumulate_f32_f32(float, float, float, float, float, float)

define void @f(ptr addrspace(1) %p, float %a, float %b, float %c, float %d) {
entry:
  %one = call %struct.attn_pair @attn_matrix_multiply_accumulate_f32_f32(float %a, float %b, float %c, float %d, float 0.000000e+00, float 0.000000e+00)
  %x = extractvalue %struct.attn_pair %one, 0
  %y = extractvalue %struct.attn_pair %one, 1
  %two = call %struct.attn_pair @attn_matrix_multiply_accumulate_f32_f32(float %c, float %d, float %a, float %b, float %x, float %y)
  %v = extractvalue %struct.attn_pair %two, 0
  %w = extractvalue %struct.attn_pair %two, 1
  store float %v, ptr addrspace(1) %p, align 4
  %q = getelementptr float, ptr addrspace(1) %p, i64 1
  store float %w, ptr addrspace(1) %q, align 4
  ret void
}
