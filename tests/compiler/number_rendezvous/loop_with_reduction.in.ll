; Lanes meet in a branch inside a loop: the loop gets a place of its own at the end of its turn.
declare float @attn_reduce_f32(float, i32)

define float @f(float %x, i1 %some, i1 %again) {
entry:
  br label %head

head:
  br i1 %some, label %meet, label %end

meet:
  %sum = call float @attn_reduce_f32(float %x, i32 0)
  br label %end

end:
  %kept = phi float [ %x, %head ], [ %sum, %meet ]
  br i1 %again, label %head, label %done

done:
  %last = call float @attn_reduce_f32(float %kept, i32 1)
  ret float %last
}
