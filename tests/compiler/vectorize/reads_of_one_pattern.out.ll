; Eight reads of one pattern are calls of one function, written once; a ninth of another is not.
declare i32 @attn_lane_index()
define internal {<32 x i32>} @attn.read.0(ptr addrspace(1) %at0) nounwind memory(read) alwaysinline {
  %t6 = getelementptr i8, ptr addrspace(1) %at0, i64 0
  %t7 = load <32 x i32>, ptr addrspace(1) %t6, align 4
  %t8 = shufflevector <32 x i32> %t7, <32 x i32> poison, <16 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %t9 = shufflevector <32 x i32> %t7, <32 x i32> poison, <16 x i32> <i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>
  %t10 = shufflevector <16 x i32> %t8, <16 x i32> poison, <16 x i32> <i32 1, i32 0, i32 3, i32 2, i32 5, i32 4, i32 7, i32 6, i32 9, i32 8, i32 11, i32 10, i32 13, i32 12, i32 15, i32 14>
  %t11 = shufflevector <16 x i32> %t9, <16 x i32> poison, <16 x i32> <i32 1, i32 0, i32 3, i32 2, i32 5, i32 4, i32 7, i32 6, i32 9, i32 8, i32 11, i32 10, i32 13, i32 12, i32 15, i32 14>
  %t12 = shufflevector <16 x i32> %t10, <16 x i32> %t11, <32 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>
  %t13 = insertvalue {<32 x i32>} poison, <32 x i32> %t12, 0
  ret {<32 x i32>} %t13
}
define internal {<32 x i32>} @attn.read.1(ptr addrspace(1) %at0) nounwind memory(read) noinline {
  %t17 = getelementptr i8, ptr addrspace(1) %at0, i64 0
  %t18 = load <32 x i32>, ptr addrspace(1) %t17, align 4
  %t19 = shufflevector <32 x i32> %t18, <32 x i32> poison, <16 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %t20 = shufflevector <32 x i32> %t18, <32 x i32> poison, <16 x i32> <i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>
  %t21 = shufflevector <16 x i32> %t20, <16 x i32> poison, <16 x i32> <i32 15, i32 14, i32 13, i32 12, i32 11, i32 10, i32 9, i32 8, i32 7, i32 6, i32 5, i32 4, i32 3, i32 2, i32 1, i32 0>
  %t22 = shufflevector <16 x i32> %t19, <16 x i32> poison, <16 x i32> <i32 15, i32 14, i32 13, i32 12, i32 11, i32 10, i32 9, i32 8, i32 7, i32 6, i32 5, i32 4, i32 3, i32 2, i32 1, i32 0>
  %t23 = shufflevector <16 x i32> %t21, <16 x i32> %t22, <32 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>
  %t24 = insertvalue {<32 x i32>} poison, <32 x i32> %t23, 0
  ret {<32 x i32>} %t24
}
define void @attn_entry_0_simdgroup(ptr %0) nounwind {
  br label %block0
block0:
  %t1 = load ptr addrspace(1), ptr %0, align 8
  %t2 = load ptr addrspace(1), ptr addrspace(1) %t1, align 8
  %t3 = getelementptr i32, ptr addrspace(1) %t2, i64 0
  %t4 = getelementptr i32, ptr addrspace(1) %t2, i64 0
  %t5 = getelementptr i32, ptr addrspace(1) %t2, i64 0
  %t14 = call {<32 x i32>} @attn.read.0(ptr addrspace(1) %t5)
  %t15 = extractvalue {<32 x i32>} %t14, 0
  %t16 = getelementptr i32, ptr addrspace(1) %t4, i64 64
  %t25 = call {<32 x i32>} @attn.read.1(ptr addrspace(1) %t16)
  %t26 = extractvalue {<32 x i32>} %t25, 0
  %t27 = add <32 x i32> %t15, %t26
  %t28 = getelementptr i32, ptr addrspace(1) %t4, i64 128
  %t29 = call {<32 x i32>} @attn.read.1(ptr addrspace(1) %t28)
  %t30 = extractvalue {<32 x i32>} %t29, 0
  %t31 = add <32 x i32> %t27, %t30
  %t32 = getelementptr i32, ptr addrspace(1) %t4, i64 192
  %t33 = call {<32 x i32>} @attn.read.1(ptr addrspace(1) %t32)
  %t34 = extractvalue {<32 x i32>} %t33, 0
  %t35 = add <32 x i32> %t31, %t34
  %t36 = getelementptr i32, ptr addrspace(1) %t4, i64 256
  %t37 = call {<32 x i32>} @attn.read.1(ptr addrspace(1) %t36)
  %t38 = extractvalue {<32 x i32>} %t37, 0
  %t39 = add <32 x i32> %t35, %t38
  %t40 = getelementptr i32, ptr addrspace(1) %t4, i64 320
  %t41 = call {<32 x i32>} @attn.read.1(ptr addrspace(1) %t40)
  %t42 = extractvalue {<32 x i32>} %t41, 0
  %t43 = add <32 x i32> %t39, %t42
  %t44 = getelementptr i32, ptr addrspace(1) %t4, i64 384
  %t45 = call {<32 x i32>} @attn.read.1(ptr addrspace(1) %t44)
  %t46 = extractvalue {<32 x i32>} %t45, 0
  %t47 = add <32 x i32> %t43, %t46
  %t48 = getelementptr i32, ptr addrspace(1) %t4, i64 448
  %t49 = call {<32 x i32>} @attn.read.1(ptr addrspace(1) %t48)
  %t50 = extractvalue {<32 x i32>} %t49, 0
  %t51 = add <32 x i32> %t47, %t50
  %t52 = getelementptr i32, ptr addrspace(1) %t4, i64 512
  %t53 = call {<32 x i32>} @attn.read.1(ptr addrspace(1) %t52)
  %t54 = extractvalue {<32 x i32>} %t53, 0
  %t55 = add <32 x i32> %t51, %t54
  %t56 = getelementptr i8, ptr addrspace(1) %t3, i64 0
  store <32 x i32> %t55, ptr addrspace(1) %t56, align 4
  ret void
}