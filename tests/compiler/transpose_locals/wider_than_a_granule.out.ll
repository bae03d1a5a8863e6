; What is wider than the least access is put together of it: a zero of 8 bytes, a pointer;
; and what is filled with bytes is stored.
define void @attn_entry_0(ptr %lane) {
entry:
  %attn.transposed.0.by4 = alloca [16 x i8], align 16
  store i32 117901063, ptr %attn.transposed.0.by4, align 4
  %attn.transposed.1 = getelementptr i8, ptr %attn.transposed.0.by4, i64 128
  store i32 117901063, ptr %attn.transposed.1, align 4
  %attn.transposed.2 = getelementptr i8, ptr %attn.transposed.0.by4, i64 256
  store i32 117901063, ptr %attn.transposed.2, align 4
  %attn.transposed.3 = getelementptr i8, ptr %attn.transposed.0.by4, i64 384
  store i32 117901063, ptr %attn.transposed.3, align 4
  %attn.transposed.4 = bitcast double 0.000000e+00 to i64
  %attn.transposed.5 = lshr i64 %attn.transposed.4, 0
  %attn.transposed.6 = trunc i64 %attn.transposed.5 to i32
  store i32 %attn.transposed.6, ptr %attn.transposed.0.by4, align 4
  %attn.transposed.7 = lshr i64 %attn.transposed.4, 32
  %attn.transposed.8 = trunc i64 %attn.transposed.7 to i32
  %attn.transposed.9 = getelementptr i8, ptr %attn.transposed.0.by4, i64 128
  store i32 %attn.transposed.8, ptr %attn.transposed.9, align 4
  %x = load float, ptr %attn.transposed.0.by4, align 4
  %slot = getelementptr i8, ptr %attn.transposed.0.by4, i64 256
  %attn.transposed.10 = ptrtoint ptr addrspace(1) null to i64
  %attn.transposed.11 = lshr i64 %attn.transposed.10, 0
  %attn.transposed.12 = trunc i64 %attn.transposed.11 to i32
  store i32 %attn.transposed.12, ptr %slot, align 4
  %attn.transposed.13 = lshr i64 %attn.transposed.10, 32
  %attn.transposed.14 = trunc i64 %attn.transposed.13 to i32
  %attn.transposed.15 = getelementptr i8, ptr %slot, i64 128
  store i32 %attn.transposed.14, ptr %attn.transposed.15, align 4
  %attn.transposed.16 = load i32, ptr %slot, align 4
  %attn.transposed.17 = zext i32 %attn.transposed.16 to i64
  %attn.transposed.18 = shl i64 %attn.transposed.17, 0
  %attn.transposed.19 = or i64 %attn.transposed.18, 0
  %attn.transposed.20 = getelementptr i8, ptr %slot, i64 128
  %attn.transposed.21 = load i32, ptr %attn.transposed.20, align 4
  %attn.transposed.22 = zext i32 %attn.transposed.21 to i64
  %attn.transposed.23 = shl i64 %attn.transposed.22, 32
  %attn.transposed.24 = or i64 %attn.transposed.23, %attn.transposed.19
  %p = inttoptr i64 %attn.transposed.24 to ptr addrspace(1)
  store float %x, ptr addrspace(1) %p, align 4
  ret void
}

declare void @llvm.memset.p0.i64(ptr, i8, i64, i1 immarg)
