; Lanes below 7 store: the block stands under their mask and is passed over where it is empty.
declare i32 @attn_lane_index()
declare i32 @llvm.cttz.i32(i32, i1)
define internal void @attn.each.0(i32 %at0, ptr %at1, ptr %at2) nounwind alwaysinline {
  br label %before24
before24:
  br label %each25
each25:
  %t27 = phi i32 [ %at0, %before24 ], [ %t28, %each25 ]
  %t29 = call i32 @llvm.cttz.i32(i32 %t27, i1 true)
  %t30 = getelementptr i32, ptr %at1, i32 %t29
  %t31 = load i32, ptr %t30
  %t32 = getelementptr ptr addrspace(1), ptr %at2, i32 %t29
  %t33 = load ptr addrspace(1), ptr %t32
  store i32 %t31, ptr addrspace(1) %t33, align 4
  %t34 = sub i32 %t27, 1
  %t28 = and i32 %t27, %t34
  %t35 = icmp eq i32 %t28, 0
  br i1 %t35, label %after26, label %each25
after26:
  ret void
}
define void @attn_entry_0_simdgroup(ptr %0) nounwind {
  %mask.0 = alloca <32 x i1>, align 64
  %keep.one.1 = alloca ptr addrspace(1), align 64
  %buffer.i32.1 = alloca [32 x i32], align 64
  %buffer.ptr.addrspace.1..1 = alloca [32 x ptr addrspace(1)], align 64
  br label %block0
block0:
  %t1 = load ptr addrspace(1), ptr %0, align 8
  %t2 = load ptr addrspace(1), ptr addrspace(1) %t1, align 8
  store ptr addrspace(1) %t2, ptr %keep.one.1, align 64
  store <32 x i1> zeroinitializer, ptr %mask.0, align 64
  %t3 = xor <32 x i1> <i1 true, i1 true, i1 true, i1 true, i1 true, i1 true, i1 true, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false>, splat (i1 true)
  %t4 = and <32 x i1> splat (i1 true), <i1 true, i1 true, i1 true, i1 true, i1 true, i1 true, i1 true, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false>
  %t5 = and <32 x i1> splat (i1 true), %t3
  %t6 = load <32 x i1>, ptr %mask.0, align 64
  %t7 = or <32 x i1> %t6, %t4
  store <32 x i1> %t7, ptr %mask.0, align 64
  br label %block1
block1:
  %t8 = load <32 x i1>, ptr %mask.0, align 64
  store <32 x i1> zeroinitializer, ptr %mask.0, align 64
  %t9 = bitcast <32 x i1> %t8 to i32
  %t10 = icmp eq i32 %t9, 0
  br i1 %t10, label %end12, label %run11
run11:
  %t16 = icmp eq i32 %t9, -1
  br i1 %t16, label %full13, label %some14
full13:
  %t17 = load ptr addrspace(1), ptr %keep.one.1, align 64
  %t18 = getelementptr i32, ptr addrspace(1) %t17, i64 0
  %t19 = getelementptr i8, ptr addrspace(1) %t18, i64 0
  store <32 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>, ptr addrspace(1) %t19, align 4
  br label %leave15
some14:
  %t20 = load ptr addrspace(1), ptr %keep.one.1, align 64
  %t21 = getelementptr i32, ptr addrspace(1) %t20, i64 0
  store <32 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>, ptr %buffer.i32.1, align 64
  %t22 = getelementptr i8, ptr addrspace(1) %t21, <32 x i64> <i64 0, i64 4, i64 8, i64 12, i64 16, i64 20, i64 24, i64 28, i64 32, i64 36, i64 40, i64 44, i64 48, i64 52, i64 56, i64 60, i64 64, i64 68, i64 72, i64 76, i64 80, i64 84, i64 88, i64 92, i64 96, i64 100, i64 104, i64 108, i64 112, i64 116, i64 120, i64 124>
  store <32 x ptr addrspace(1)> %t22, ptr %buffer.ptr.addrspace.1..1, align 64
  %t23 = bitcast <32 x i1> %t8 to i32
  call void @attn.each.0(i32 %t23, ptr %buffer.i32.1, ptr %buffer.ptr.addrspace.1..1)
  br label %leave15
leave15:
  br label %end12
end12:
  br label %block2
block2:
  ret void
}