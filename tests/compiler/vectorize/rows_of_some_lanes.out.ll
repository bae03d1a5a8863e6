; A row of a transposed variable is read and written whole, though some lanes run: of the others,
; what is there stays.
declare i32 @attn_lane_index()
define void @attn_entry_0_simdgroup(ptr %lane) nounwind {
  %mask.0 = alloca <32 x i1>, align 64
  %keep.base.0 = alloca ptr, align 64
  %keep.lanes0.1 = alloca <32 x float>, align 64
  %keep.base.2 = alloca ptr, align 64
  br label %block0
block0:
  %"local.attn.transposed.0.by4" = alloca [1024 x i8], align 64
  store ptr %"local.attn.transposed.0.by4", ptr %keep.base.0, align 64
  %t1 = sitofp <32 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31> to <32 x float>
  store <32 x float> %t1, ptr %keep.lanes0.1, align 64
  %t2 = getelementptr i8, ptr %"local.attn.transposed.0.by4", i64 128
  store ptr %t2, ptr %keep.base.2, align 64
  store <32 x i1> zeroinitializer, ptr %mask.0, align 64
  %t3 = xor <32 x i1> <i1 true, i1 true, i1 true, i1 true, i1 true, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false>, splat (i1 true)
  %t4 = and <32 x i1> splat (i1 true), <i1 true, i1 true, i1 true, i1 true, i1 true, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false, i1 false>
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
  %t17 = load ptr, ptr %keep.base.2, align 64
  %t18 = getelementptr i8, ptr %t17, i64 0
  %t19 = load <32 x float>, ptr %t18, align 4
  %t20 = load <32 x float>, ptr %keep.lanes0.1, align 64
  %t21 = fadd <32 x float> %t19, %t20
  %t22 = load ptr, ptr %keep.base.0, align 64
  %t23 = getelementptr i8, ptr %t22, i64 0
  store <32 x float> %t21, ptr %t23, align 4
  br label %leave15
some14:
  %t24 = load ptr, ptr %keep.base.2, align 64
  %t25 = load <32 x float>, ptr %t24, align 4
  %t26 = load <32 x float>, ptr %keep.lanes0.1, align 64
  %t27 = fadd <32 x float> %t25, %t26
  %t28 = load ptr, ptr %keep.base.0, align 64
  %t29 = load <32 x float>, ptr %t28, align 4
  %t30 = select <32 x i1> %t8, <32 x float> %t27, <32 x float> %t29
  store <32 x float> %t30, ptr %t28, align 4
  br label %leave15
leave15:
  br label %end12
end12:
  br label %block2
block2:
  ret void
}