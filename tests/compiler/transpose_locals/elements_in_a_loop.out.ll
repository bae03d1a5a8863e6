; A row of 32 lanes an element: indices and constants are 32 times as far, a vector is its elements.
define void @attn_entry_0(ptr %lane, i32 %n) {
entry:
  %attn.transposed.0.by4 = alloca [64 x i8], align 16
  call void @llvm.lifetime.start.p0(ptr %attn.transposed.0.by4)
  br label %loop

loop:
  %k = phi i64 [ 0, %entry ], [ %next, %loop ]
  %attn.transposed.1 = getelementptr [256 x i8], ptr %attn.transposed.0.by4, i64 %k
  %at = getelementptr i8, ptr %attn.transposed.1, i64 0
  %generic = addrspacecast ptr %at to ptr addrspace(4)
  %attn.transposed.6 = load float, ptr addrspace(4) %generic, align 4
  %attn.transposed.7 = insertelement <2 x float> poison, float %attn.transposed.6, i64 0
  %attn.transposed.8 = getelementptr i8, ptr addrspace(4) %generic, i64 128
  %attn.transposed.9 = load float, ptr addrspace(4) %attn.transposed.8, align 4
  %pair = insertelement <2 x float> %attn.transposed.7, float %attn.transposed.9, i64 1
  %more = fadd <2 x float> %pair, splat (float 1.000000e+00)
  %attn.transposed.3 = extractelement <2 x float> %more, i64 0
  store float %attn.transposed.3, ptr %at, align 4
  %attn.transposed.4 = extractelement <2 x float> %more, i64 1
  %attn.transposed.5 = getelementptr i8, ptr %at, i64 128
  store float %attn.transposed.4, ptr %attn.transposed.5, align 4
  %second = getelementptr i8, ptr %attn.transposed.0.by4, i64 384
  %one = load float, ptr %second, align 4
  %scaled = shl i32 %n, 2
  %attn.transposed.2 = getelementptr [32 x i8], ptr %attn.transposed.0.by4, i32 %scaled
  %byte = getelementptr i8, ptr %attn.transposed.2, i64 0
  store float %one, ptr %byte, align 4
  %next = add nuw nsw i64 %k, 1
  %done = icmp eq i64 %next, 8
  br i1 %done, label %exit, label %loop

exit:
  ret void
}

declare void @llvm.lifetime.start.p0(ptr captures(none))
