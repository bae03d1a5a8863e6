; Eight neighbours of two bytes, with a store to threadgroup memory in between, are one read.
define void @f(ptr addrspace(1) %p, ptr addrspace(3) %q) {
entry:
  %at0 = getelementptr half, ptr addrspace(1) %p, i64 0
  %attn.wide0.at = getelementptr i8, ptr addrspace(1) %at0, i64 0
  %attn.wide0.words = call <4 x i32> @attn_read_16_bytes(ptr addrspace(1) %attn.wide0.at)
  %attn.wide0 = bitcast <4 x i32> %attn.wide0.words to <8 x half>
  %v0 = extractelement <8 x half> %attn.wide0, i64 0
  %at1 = getelementptr half, ptr addrspace(1) %p, i64 1
  %v1 = extractelement <8 x half> %attn.wide0, i64 1
  %at2 = getelementptr half, ptr addrspace(1) %p, i64 2
  %v2 = extractelement <8 x half> %attn.wide0, i64 2
  %at3 = getelementptr half, ptr addrspace(1) %p, i64 3
  %v3 = extractelement <8 x half> %attn.wide0, i64 3
  store half 0xH0000, ptr addrspace(3) %q, align 2
  %at4 = getelementptr half, ptr addrspace(1) %p, i64 4
  %v4 = extractelement <8 x half> %attn.wide0, i64 4
  %at5 = getelementptr half, ptr addrspace(1) %p, i64 5
  %v5 = extractelement <8 x half> %attn.wide0, i64 5
  %at6 = getelementptr half, ptr addrspace(1) %p, i64 6
  %v6 = extractelement <8 x half> %attn.wide0, i64 6
  %at7 = getelementptr half, ptr addrspace(1) %p, i64 7
  %v7 = extractelement <8 x half> %attn.wide0, i64 7
  %sum0 = fadd half %v0, %v1
  %sum1 = fadd half %sum0, %v2
  %sum2 = fadd half %sum1, %v3
  %sum3 = fadd half %sum2, %v4
  %sum4 = fadd half %sum3, %v5
  %sum5 = fadd half %sum4, %v6
  %sum6 = fadd half %sum5, %v7
  store half %sum6, ptr addrspace(3) %q, align 2
  ret void
}

define internal <4 x i32> @attn_read_16_bytes(ptr addrspace(1) %at) alwaysinline {
  %address = ptrtoint ptr addrspace(1) %at to i64
  %rest = and i64 %address, 15
  %aligned = icmp eq i64 %rest, 0
  br i1 %aligned, label %whole, label %parts
whole:  ; not LLVM's load: that would be made one with the other way's
  %words = call { i32, i32, i32, i32 } asm "ld.global.v4.b32 {$0,$1,$2,$3}, [$4];",
    "=r,=r,=r,=r,l"(ptr addrspace(1) %at) #7771
  %w0 = extractvalue { i32, i32, i32, i32 } %words, 0
  %w1 = extractvalue { i32, i32, i32, i32 } %words, 1
  %w2 = extractvalue { i32, i32, i32, i32 } %words, 2
  %w3 = extractvalue { i32, i32, i32, i32 } %words, 3
  %v0 = insertelement <4 x i32> poison, i32 %w0, i64 0
  %v1 = insertelement <4 x i32> %v0, i32 %w1, i64 1
  %v2 = insertelement <4 x i32> %v1, i32 %w2, i64 2
  %wide = insertelement <4 x i32> %v2, i32 %w3, i64 3
  br label %end
parts:
  %halves = load <8 x i16>, ptr addrspace(1) %at, align 2
  %joined = bitcast <8 x i16> %halves to <4 x i32>
  br label %end
end:
  %bytes = phi <4 x i32> [ %wide, %whole ], [ %joined, %parts ]
  ret <4 x i32> %bytes
}
attributes #7771 = { nounwind memory(read) }
