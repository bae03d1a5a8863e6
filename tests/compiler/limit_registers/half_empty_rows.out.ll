; Products of eight rows whose sums take 64 registers round a loop: three codes, by how many warps a launch has.
define ptx_kernel void @attn_launch_0(ptr addrspace(1) %p, i32 %n) local_unnamed_addr "nvvm.maxnreg"="255" #0 {
start:
  br label %loop
loop:
  %i = phi i32 [ 0, %start ], [ %next, %loop ]
  %sums = phi <64 x float> [ zeroinitializer, %start ], [ %new, %loop ]
  %a = load i32, ptr addrspace(1) %p, align 4
  %first = extractelement <64 x float> %sums, i32 0
  %four = tail call { float, float, float, float } asm "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {$0,$1,$2,$3},{$4,$5},{$6},{$0,$1,$2,$3};", "=f,=f,=f,=f,r,r,r,0,1,2,3"(i32 %a, i32 0, i32 %a, float %first, float %first, float %first, float %first)
  %sum = extractvalue { float, float, float, float } %four, 0
  %new = insertelement <64 x float> %sums, float %sum, i32 0
  %next = add i32 %i, 1
  %more = icmp ult i32 %next, %n
  br i1 %more, label %loop, label %exit
exit:
  store <64 x float> %new, ptr addrspace(1) %p, align 256
  ret void
}
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
attributes #0 = { nounwind }
define ptx_kernel void @attn_launch_0_full(ptr addrspace(1) %p, i32 %n) local_unnamed_addr #0 {
start:
  br label %loop
loop:
  %i = phi i32 [ 0, %start ], [ %next, %loop ]
  %sums = phi <64 x float> [ zeroinitializer, %start ], [ %new, %loop ]
  %a = load i32, ptr addrspace(1) %p, align 4
  %first = extractelement <64 x float> %sums, i32 0
  %four = tail call { float, float, float, float } asm "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {$0,$1,$2,$3},{$4,$5},{$6},{$0,$1,$2,$3};", "=f,=f,=f,=f,r,r,r,0,1,2,3"(i32 %a, i32 0, i32 %a, float %first, float %first, float %first, float %first)
  %sum = extractvalue { float, float, float, float } %four, 0
  %new = insertelement <64 x float> %sums, float %sum, i32 0
  %next = add i32 %i, 1
  %more = icmp ult i32 %next, %n
  br i1 %more, label %loop, label %exit
exit:
  store <64 x float> %new, ptr addrspace(1) %p, align 256
  ret void
}
define ptx_kernel void @attn_launch_0_over(ptr addrspace(1) %p, i32 %n) local_unnamed_addr "nvvm.maxnreg"="128" #0 {
start:
  br label %loop
loop:
  %i = phi i32 [ 0, %start ], [ %next, %loop ]
  %sums = phi <64 x float> [ zeroinitializer, %start ], [ %new, %loop ]
  %a = load i32, ptr addrspace(1) %p, align 4
  %first = extractelement <64 x float> %sums, i32 0
  %four = tail call { float, float, float, float } asm "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {$0,$1,$2,$3},{$4,$5},{$6},{$0,$1,$2,$3};", "=f,=f,=f,=f,r,r,r,0,1,2,3"(i32 %a, i32 0, i32 %a, float %first, float %first, float %first, float %first)
  %sum = extractvalue { float, float, float, float } %four, 0
  %new = insertelement <64 x float> %sums, float %sum, i32 0
  %next = add i32 %i, 1
  %more = icmp ult i32 %next, %n
  br i1 %more, label %loop, label %exit
exit:
  store <64 x float> %new, ptr addrspace(1) %p, align 256
  ret void
}
