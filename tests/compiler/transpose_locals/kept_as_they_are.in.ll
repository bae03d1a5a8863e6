; Not every use is known, so they stay as a lane has them: an address that is stored, chosen by a
; phi, filled with many bytes, read as a struct, or not known to be a whole number of elements away.
define void @attn_entry_0(ptr %lane, i64 %n, i1 %c) {
entry:
  %stored = alloca [4 x float], align 16
  %chosen = alloca [4 x float], align 16
  %filled = alloca [128 x float], align 16
  %struct = alloca { float, float }, align 16
  %apart = alloca [16 x i8], align 16
  store ptr %stored, ptr %lane, align 8
  call void @llvm.memset.p0.i64(ptr %filled, i8 0, i64 512, i1 false)
  %f = load float, ptr %filled, align 4
  %s = load { float, float }, ptr %struct, align 4
  %odd = getelementptr i8, ptr %apart, i64 %n
  %o = load float, ptr %odd, align 4
  br i1 %c, label %then, label %exit

then:
  br label %exit

exit:
  %p = phi ptr [ %chosen, %entry ], [ %lane, %then ]
  %x = load float, ptr %p, align 4
  ret void
}

declare void @llvm.memset.p0.i64(ptr, i8, i64, i1 immarg)
