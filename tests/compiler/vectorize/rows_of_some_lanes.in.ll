; A row of a transposed variable is read and written whole, though some lanes run: of the others,
; what is there stays.
define void @attn_entry_0(ptr %lane) {
entry:
  %attn.transposed.0.by4 = alloca [32 x i8], align 16
  %i = call i32 @attn_lane_index()
  %x = sitofp i32 %i to float
  %c = icmp ult i32 %i, 5
  %at = getelementptr i8, ptr %attn.transposed.0.by4, i64 128
  br i1 %c, label %then, label %end

then:
  %old = load float, ptr %at, align 4
  %new = fadd float %old, %x
  store float %new, ptr %attn.transposed.0.by4, align 4
  br label %end

end:
  ret void
}

declare i32 @attn_lane_index()
