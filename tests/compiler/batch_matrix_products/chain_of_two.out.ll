; Two products on one accumulator are one batch: the lanes meet once.
%struct.attn_pair = type { float, float }


define void @f(ptr addrspace(1) %p, float %a, float %b, float %c, float %d) {
entry:
  %attn.slots = call ptr @attn_matrix_slots()
  %q = getelementptr float, ptr addrspace(1) %p, i64 1
  %attn.at.1 = getelementptr i8, ptr %attn.slots, i64 0
  store float %a, ptr %attn.at.1, align 4
  %attn.at.2 = getelementptr i8, ptr %attn.slots, i64 128
  store float %b, ptr %attn.at.2, align 4
  %attn.at.3 = getelementptr i8, ptr %attn.slots, i64 256
  store float %c, ptr %attn.at.3, align 4
  %attn.at.4 = getelementptr i8, ptr %attn.slots, i64 384
  store float %d, ptr %attn.at.4, align 4
  call void @attn_matrix_batch(ptr @attn.batch.0)
  %attn.at.5 = getelementptr i8, ptr %attn.slots, i64 18432
  %attn.value.6 = load float, ptr %attn.at.5, align 4
  %attn.at.7 = getelementptr i8, ptr %attn.slots, i64 18560
  %attn.value.8 = load float, ptr %attn.at.7, align 4
  %attn.half.9 = insertvalue %struct.attn_pair poison, float %attn.value.6, 0
  %one = insertvalue %struct.attn_pair %attn.half.9, float %attn.value.8, 1
  %attn.at.10 = getelementptr i8, ptr %attn.slots, i64 18432
  %attn.value.11 = load float, ptr %attn.at.10, align 4
  %attn.at.12 = getelementptr i8, ptr %attn.slots, i64 18560
  %attn.value.13 = load float, ptr %attn.at.12, align 4
  %attn.half.14 = insertvalue %struct.attn_pair poison, float %attn.value.11, 0
  %two = insertvalue %struct.attn_pair %attn.half.14, float %attn.value.13, 1
  %x = extractvalue %struct.attn_pair %one, 0
  %y = extractvalue %struct.attn_pair %one, 1
  %v = extractvalue %struct.attn_pair %two, 0
  %w = extractvalue %struct.attn_pair %two, 1
  store float %v, ptr addrspace(1) %p, align 4
  store float %w, ptr addrspace(1) %q, align 4
  ret void
}

@attn.batch.0 = private unnamed_addr constant { i32, [2 x [4 x i16]] } { i32 2, [2 x [4 x i16]] [[4 x i16] [i16 0, i16 1, i16 -1, i16 72], [4 x i16] [i16 1, i16 0, i16 72, i16 72]] }, align 4
declare ptr @attn_matrix_slots() nounwind memory(none)
declare void @attn_matrix_batch(ptr) nounwind convergent
