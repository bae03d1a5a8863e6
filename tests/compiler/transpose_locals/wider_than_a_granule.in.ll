; What is wider than the least access is put together of it: a zero of 8 bytes, a pointer;
; and what is filled with bytes is stored.
define void @attn_entry_0(ptr %lane) {
entry:
  %held = alloca [2 x <2 x float>], align 16
  call void @llvm.memset.p0.i64(ptr align 16 %held, i8 7, i64 16, i1 false)
  store double 0.000000e+00, ptr %held, align 8
  %x = load float, ptr %held, align 4
  %slot = getelementptr i8, ptr %held, i64 8
  store ptr addrspace(1) null, ptr %slot, align 8
  %p = load ptr addrspace(1), ptr %slot, align 8
  store float %x, ptr addrspace(1) %p, align 4
  ret void
}

declare void @llvm.memset.p0.i64(ptr, i8, i64, i1 immarg)
