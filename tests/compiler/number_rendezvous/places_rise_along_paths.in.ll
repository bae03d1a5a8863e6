; A shuffle and a barrier, one after the other, and a ballot in front of them in control flow though
; behind them in the text.
declare i32 @attn_shuffle_u32(i32, i32)
declare i32 @attn_ballot(i32)
declare void @attn_threadgroup_barrier()

define i32 @f(i32 %x) {
entry:
  br label %first

second:
  %other = call i32 @attn_shuffle_u32(i32 %votes, i32 1)
  call void @attn_threadgroup_barrier()
  ret i32 %other

first:
  %votes = call i32 @attn_ballot(i32 %x)
  br label %second
}
