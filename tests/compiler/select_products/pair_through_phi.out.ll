; A pair of results that a phi carries on as a whole is put together again where it is made.
%struct.attn_pair = type { float, float }


define void @f(ptr addrspace(1) %p, float %a, float %b, float %c, float %d, i1 %choice) {
entry:
  br i1 %choice, label %left, label %right

left:
  %attn.t1 = insertelement <2 x float> poison, float %a, i64 0
  %attn.t2 = insertelement <2 x float> %attn.t1, float %b, i64 1
  %attn.t3 = fptrunc <2 x float> %attn.t2 to <2 x bfloat>
  %attn.t4 = bitcast <2 x bfloat> %attn.t3 to i32
  %attn.t5 = shl i32 %attn.t4, 16
  %attn.t6 = and i32 %attn.t4, -65536
  %attn.t7 = bitcast i32 %attn.t5 to float
  %attn.t8 = fsub float %a, %attn.t7
  %attn.t9 = bitcast i32 %attn.t6 to float
  %attn.t10 = fsub float %b, %attn.t9
  %attn.t11 = insertelement <2 x float> poison, float %attn.t8, i64 0
  %attn.t12 = insertelement <2 x float> %attn.t11, float %attn.t10, i64 1
  %attn.t13 = fptrunc <2 x float> %attn.t12 to <2 x bfloat>
  %attn.t14 = bitcast <2 x bfloat> %attn.t13 to i32
  %attn.t15 = shl i32 %attn.t14, 16
  %attn.t16 = and i32 %attn.t14, -65536
  %attn.t17 = bitcast i32 %attn.t15 to float
  %attn.t18 = fsub float %attn.t8, %attn.t17
  %attn.t19 = bitcast i32 %attn.t16 to float
  %attn.t20 = fsub float %attn.t10, %attn.t19
  %attn.t21 = insertelement <2 x float> poison, float %attn.t18, i64 0
  %attn.t22 = insertelement <2 x float> %attn.t21, float %attn.t20, i64 1
  %attn.t23 = fptrunc <2 x float> %attn.t22 to <2 x bfloat>
  %attn.t24 = bitcast <2 x bfloat> %attn.t23 to i32
  %attn.t25 = shl i32 %attn.t24, 16
  %attn.t26 = and i32 %attn.t24, -65536
  %attn.t27 = bitcast i32 %attn.t25 to float
  %attn.t28 = fsub float %attn.t18, %attn.t27
  %attn.t29 = bitcast i32 %attn.t26 to float
  %attn.t30 = fsub float %attn.t20, %attn.t29
  %attn.t31 = bitcast float %c to i32
  %attn.t32 = bitcast float %d to i32
  %attn.t33 = call i32 @llvm.nvvm.prmt(i32 %attn.t31, i32 %attn.t32, i32 30258)
  %attn.t34 = call i32 asm "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;", "=r,r"(i32 %attn.t33) #7770
  %attn.t35 = call i32 @llvm.nvvm.prmt(i32 %attn.t31, i32 %attn.t32, i32 21520)
  %attn.t36 = call i32 asm "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;", "=r,r"(i32 %attn.t35) #7770
  %attn.t37 = call i32 @llvm.nvvm.prmt(i32 %attn.t36, i32 %attn.t34, i32 21520)
  %attn.t38 = bitcast i32 %attn.t37 to float
  %attn.t39 = call i32 @llvm.nvvm.prmt(i32 %attn.t36, i32 %attn.t34, i32 30258)
  %attn.t40 = bitcast i32 %attn.t39 to float
  %attn.t41 = insertelement <2 x float> poison, float %attn.t38, i64 0
  %attn.t42 = insertelement <2 x float> %attn.t41, float %attn.t40, i64 1
  %attn.t43 = fptrunc <2 x float> %attn.t42 to <2 x bfloat>
  %attn.t44 = bitcast <2 x bfloat> %attn.t43 to i32
  %attn.t45 = shl i32 %attn.t44, 16
  %attn.t46 = and i32 %attn.t44, -65536
  %attn.t47 = bitcast i32 %attn.t45 to float
  %attn.t48 = fsub float %attn.t38, %attn.t47
  %attn.t49 = bitcast i32 %attn.t46 to float
  %attn.t50 = fsub float %attn.t40, %attn.t49
  %attn.t51 = insertelement <2 x float> poison, float %attn.t48, i64 0
  %attn.t52 = insertelement <2 x float> %attn.t51, float %attn.t50, i64 1
  %attn.t53 = fptrunc <2 x float> %attn.t52 to <2 x bfloat>
  %attn.t54 = bitcast <2 x bfloat> %attn.t53 to i32
  %attn.t55 = shl i32 %attn.t54, 16
  %attn.t56 = and i32 %attn.t54, -65536
  %attn.t57 = bitcast i32 %attn.t55 to float
  %attn.t58 = fsub float %attn.t48, %attn.t57
  %attn.t59 = bitcast i32 %attn.t56 to float
  %attn.t60 = fsub float %attn.t50, %attn.t59
  %attn.t61 = insertelement <2 x float> poison, float %attn.t58, i64 0
  %attn.t62 = insertelement <2 x float> %attn.t61, float %attn.t60, i64 1
  %attn.t63 = fptrunc <2 x float> %attn.t62 to <2 x bfloat>
  %attn.t64 = bitcast <2 x bfloat> %attn.t63 to i32
  %attn.t65 = shl i32 %attn.t64, 16
  %attn.t66 = and i32 %attn.t64, -65536
  %attn.t67 = bitcast i32 %attn.t65 to float
  %attn.t68 = fsub float %attn.t58, %attn.t67
  %attn.t69 = bitcast i32 %attn.t66 to float
  %attn.t70 = fsub float %attn.t60, %attn.t69
  %attn.t71 = call { float, float, float, float } asm "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0,$1,$2,$3},{$4,$5,$6,$7},{$8,$9},{$0,$1,$2,$3};", "=f,=f,=f,=f,r,r,r,r,r,r,0,1,2,3"(i32 %attn.t24, i32 0, i32 %attn.t4, i32 0, i32 %attn.t44, i32 %attn.t64, float 0.000000e+00, float 0.000000e+00, float 0.000000e+00, float 0.000000e+00) #7770
  %attn.t72 = extractvalue { float, float, float, float } %attn.t71, 0
  %attn.t73 = extractvalue { float, float, float, float } %attn.t71, 1
  %attn.t74 = extractvalue { float, float, float, float } %attn.t71, 2
  %attn.t75 = extractvalue { float, float, float, float } %attn.t71, 3
  %attn.t76 = call { float, float, float, float } asm "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0,$1,$2,$3},{$4,$5,$6,$7},{$8,$9},{$0,$1,$2,$3};", "=f,=f,=f,=f,r,r,r,r,r,r,0,1,2,3"(i32 %attn.t4, i32 %attn.t14, i32 %attn.t14, i32 %attn.t4, i32 %attn.t44, i32 %attn.t54, float 0.000000e+00, float 0.000000e+00, float %attn.t72, float %attn.t73) #7770
  %attn.t77 = extractvalue { float, float, float, float } %attn.t76, 0
  %attn.t78 = extractvalue { float, float, float, float } %attn.t76, 1
  %attn.t79 = extractvalue { float, float, float, float } %attn.t76, 2
  %attn.t80 = extractvalue { float, float, float, float } %attn.t76, 3
  %attn.t81 = fadd float %attn.t77, %attn.t79
  %attn.t82 = fadd float %attn.t78, %attn.t80
  %one.0 = fadd float -0.000000e+00, %attn.t81
  %one.1 = fadd float -0.000000e+00, %attn.t82
  %one.half = insertvalue %struct.attn_pair poison, float %one.0, 0
  %one = insertvalue %struct.attn_pair %one.half, float %one.1, 1
  br label %end

right:
  %attn.t83 = insertelement <2 x float> poison, float %c, i64 0
  %attn.t84 = insertelement <2 x float> %attn.t83, float %d, i64 1
  %attn.t85 = fptrunc <2 x float> %attn.t84 to <2 x bfloat>
  %attn.t86 = bitcast <2 x bfloat> %attn.t85 to i32
  %attn.t87 = shl i32 %attn.t86, 16
  %attn.t88 = and i32 %attn.t86, -65536
  %attn.t89 = bitcast i32 %attn.t87 to float
  %attn.t90 = fsub float %c, %attn.t89
  %attn.t91 = bitcast i32 %attn.t88 to float
  %attn.t92 = fsub float %d, %attn.t91
  %attn.t93 = insertelement <2 x float> poison, float %attn.t90, i64 0
  %attn.t94 = insertelement <2 x float> %attn.t93, float %attn.t92, i64 1
  %attn.t95 = fptrunc <2 x float> %attn.t94 to <2 x bfloat>
  %attn.t96 = bitcast <2 x bfloat> %attn.t95 to i32
  %attn.t97 = shl i32 %attn.t96, 16
  %attn.t98 = and i32 %attn.t96, -65536
  %attn.t99 = bitcast i32 %attn.t97 to float
  %attn.t100 = fsub float %attn.t90, %attn.t99
  %attn.t101 = bitcast i32 %attn.t98 to float
  %attn.t102 = fsub float %attn.t92, %attn.t101
  %attn.t103 = insertelement <2 x float> poison, float %attn.t100, i64 0
  %attn.t104 = insertelement <2 x float> %attn.t103, float %attn.t102, i64 1
  %attn.t105 = fptrunc <2 x float> %attn.t104 to <2 x bfloat>
  %attn.t106 = bitcast <2 x bfloat> %attn.t105 to i32
  %attn.t107 = shl i32 %attn.t106, 16
  %attn.t108 = and i32 %attn.t106, -65536
  %attn.t109 = bitcast i32 %attn.t107 to float
  %attn.t110 = fsub float %attn.t100, %attn.t109
  %attn.t111 = bitcast i32 %attn.t108 to float
  %attn.t112 = fsub float %attn.t102, %attn.t111
  %attn.t113 = bitcast float %a to i32
  %attn.t114 = bitcast float %b to i32
  %attn.t115 = call i32 @llvm.nvvm.prmt(i32 %attn.t113, i32 %attn.t114, i32 30258)
  %attn.t116 = call i32 asm "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;", "=r,r"(i32 %attn.t115) #7770
  %attn.t117 = call i32 @llvm.nvvm.prmt(i32 %attn.t113, i32 %attn.t114, i32 21520)
  %attn.t118 = call i32 asm "movmatrix.sync.aligned.m8n8.trans.b16 $0, $1;", "=r,r"(i32 %attn.t117) #7770
  %attn.t119 = call i32 @llvm.nvvm.prmt(i32 %attn.t118, i32 %attn.t116, i32 21520)
  %attn.t120 = bitcast i32 %attn.t119 to float
  %attn.t121 = call i32 @llvm.nvvm.prmt(i32 %attn.t118, i32 %attn.t116, i32 30258)
  %attn.t122 = bitcast i32 %attn.t121 to float
  %attn.t123 = insertelement <2 x float> poison, float %attn.t120, i64 0
  %attn.t124 = insertelement <2 x float> %attn.t123, float %attn.t122, i64 1
  %attn.t125 = fptrunc <2 x float> %attn.t124 to <2 x bfloat>
  %attn.t126 = bitcast <2 x bfloat> %attn.t125 to i32
  %attn.t127 = shl i32 %attn.t126, 16
  %attn.t128 = and i32 %attn.t126, -65536
  %attn.t129 = bitcast i32 %attn.t127 to float
  %attn.t130 = fsub float %attn.t120, %attn.t129
  %attn.t131 = bitcast i32 %attn.t128 to float
  %attn.t132 = fsub float %attn.t122, %attn.t131
  %attn.t133 = insertelement <2 x float> poison, float %attn.t130, i64 0
  %attn.t134 = insertelement <2 x float> %attn.t133, float %attn.t132, i64 1
  %attn.t135 = fptrunc <2 x float> %attn.t134 to <2 x bfloat>
  %attn.t136 = bitcast <2 x bfloat> %attn.t135 to i32
  %attn.t137 = shl i32 %attn.t136, 16
  %attn.t138 = and i32 %attn.t136, -65536
  %attn.t139 = bitcast i32 %attn.t137 to float
  %attn.t140 = fsub float %attn.t130, %attn.t139
  %attn.t141 = bitcast i32 %attn.t138 to float
  %attn.t142 = fsub float %attn.t132, %attn.t141
  %attn.t143 = insertelement <2 x float> poison, float %attn.t140, i64 0
  %attn.t144 = insertelement <2 x float> %attn.t143, float %attn.t142, i64 1
  %attn.t145 = fptrunc <2 x float> %attn.t144 to <2 x bfloat>
  %attn.t146 = bitcast <2 x bfloat> %attn.t145 to i32
  %attn.t147 = shl i32 %attn.t146, 16
  %attn.t148 = and i32 %attn.t146, -65536
  %attn.t149 = bitcast i32 %attn.t147 to float
  %attn.t150 = fsub float %attn.t140, %attn.t149
  %attn.t151 = bitcast i32 %attn.t148 to float
  %attn.t152 = fsub float %attn.t142, %attn.t151
  %attn.t153 = call { float, float, float, float } asm "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0,$1,$2,$3},{$4,$5,$6,$7},{$8,$9},{$0,$1,$2,$3};", "=f,=f,=f,=f,r,r,r,r,r,r,0,1,2,3"(i32 %attn.t106, i32 0, i32 %attn.t86, i32 0, i32 %attn.t126, i32 %attn.t146, float 0.000000e+00, float 0.000000e+00, float 0.000000e+00, float 0.000000e+00) #7770
  %attn.t154 = extractvalue { float, float, float, float } %attn.t153, 0
  %attn.t155 = extractvalue { float, float, float, float } %attn.t153, 1
  %attn.t156 = extractvalue { float, float, float, float } %attn.t153, 2
  %attn.t157 = extractvalue { float, float, float, float } %attn.t153, 3
  %attn.t158 = call { float, float, float, float } asm "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0,$1,$2,$3},{$4,$5,$6,$7},{$8,$9},{$0,$1,$2,$3};", "=f,=f,=f,=f,r,r,r,r,r,r,0,1,2,3"(i32 %attn.t86, i32 %attn.t96, i32 %attn.t96, i32 %attn.t86, i32 %attn.t126, i32 %attn.t136, float 0.000000e+00, float 0.000000e+00, float %attn.t154, float %attn.t155) #7770
  %attn.t159 = extractvalue { float, float, float, float } %attn.t158, 0
  %attn.t160 = extractvalue { float, float, float, float } %attn.t158, 1
  %attn.t161 = extractvalue { float, float, float, float } %attn.t158, 2
  %attn.t162 = extractvalue { float, float, float, float } %attn.t158, 3
  %attn.t163 = fadd float %attn.t159, %attn.t161
  %attn.t164 = fadd float %attn.t160, %attn.t162
  %two.0 = fadd float -0.000000e+00, %attn.t163
  %two.1 = fadd float -0.000000e+00, %attn.t164
  %two.half = insertvalue %struct.attn_pair poison, float %two.0, 0
  %two = insertvalue %struct.attn_pair %two.half, float %two.1, 1
  br label %end

end:
  %pair = phi %struct.attn_pair [ %one, %left ], [ %two, %right ]
  %x = extractvalue %struct.attn_pair %pair, 0
  store float %x, ptr addrspace(1) %p, align 4
  ret void
}

declare i32 @llvm.nvvm.prmt(i32, i32, i32)
attributes #7770 = { convergent nounwind memory(none) }
