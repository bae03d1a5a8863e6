; The buffer's address and the number of turns stay one value each; what a lane adds is a vector.
declare i32 @attn_lane_index()
define void @attn_entry_0_simdgroup(ptr %0) nounwind {
  br label %block0
block0:
  %t1 = load ptr addrspace(1), ptr %0, align 8
  %t2 = load ptr addrspace(1), ptr addrspace(1) %t1, align 8
  %t3 = load i32, ptr addrspace(1) %t2, align 4
  %t4 = add i32 0, %t3
  %t5 = mul i32 %t3, %t3
  %t6 = insertelement <32 x i32> poison, i32 %t4, i64 0
  %t7 = shufflevector <32 x i32> %t6, <32 x i32> poison, <32 x i32> zeroinitializer
  %t8 = add <32 x i32> %t7, <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>
  %t9 = insertelement <32 x i32> poison, i32 %t5, i64 0
  %t10 = shufflevector <32 x i32> %t9, <32 x i32> poison, <32 x i32> zeroinitializer
  %t11 = xor <32 x i32> %t8, %t10
  %t12 = getelementptr i32, ptr addrspace(1) %t2, i64 0
  %t13 = getelementptr i8, ptr addrspace(1) %t12, i64 0
  store <32 x i32> %t11, ptr addrspace(1) %t13, align 4
  ret void
}