; A pair of results that a phi carries on as a whole is put together again where it is made.
%struct.attn_pair = type { float, float }

declare %struct.attn_pair @attn_matrix_multiply_accumulate_f32_f32(float, float, float, float, float, float)

define void @f(ptr addrspace(1) %p, float %a, float %b, float %c, float %d, i1 %choice) {
entry:
  br i1 %choice, label %left, label %right

left:
  %one = call %struct.attn_pair @attn_matrix_multiply_accumulate_f32_f32(float %a, float %b, float %c, float %d, float 0.000000e+00, float 0.000000e+00)
  br label %end

right:
  %two = call %struct.attn_pair @attn_matrix_multiply_accumulate_f32_f32(float %c, float %d, float %a, float %b, float 0.000000e+00, float 0.000000e+00)
  br label %end

end:
  %pair = phi %struct.attn_pair [ %one, %left ], [ %two, %right ]
  %x = extractvalue %struct.attn_pair %pair, 0
  store float %x, ptr addrspace(1) %p, align 4
  ret void
}
