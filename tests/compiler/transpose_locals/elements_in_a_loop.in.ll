; A row of 32 lanes an element: indices and constants are 32 times as far, a vector is its elements.
define void @attn_entry_0(ptr %lane, i32 %n) {
entry:
  %sums = alloca [8 x <2 x float>], align 16
  call void @llvm.lifetime.start.p0(ptr %sums)
  br label %loop

loop:
  %k = phi i64 [ 0, %entry ], [ %next, %loop ]
  %at = getelementptr inbounds <2 x float>, ptr %sums, i64 %k
  %generic = addrspacecast ptr %at to ptr addrspace(4)
  %pair = load <2 x float>, ptr addrspace(4) %generic, align 8
  %more = fadd <2 x float> %pair, splat (float 1.000000e+00)
  store <2 x float> %more, ptr %at, align 8
  %second = getelementptr inbounds i8, ptr %sums, i64 12
  %one = load float, ptr %second, align 4
  %scaled = shl i32 %n, 2
  %byte = getelementptr i8, ptr %sums, i32 %scaled
  store float %one, ptr %byte, align 4
  %next = add nuw nsw i64 %k, 1
  %done = icmp eq i64 %next, 8
  br i1 %done, label %exit, label %loop

exit:
  ret void
}

declare void @llvm.lifetime.start.p0(ptr captures(none))
