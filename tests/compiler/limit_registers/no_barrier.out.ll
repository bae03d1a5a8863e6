; Simdgroups that never wait for one another may have all registers.
define ptx_kernel void @attn_launch_0(ptr addrspace(1) %p) local_unnamed_addr "nvvm.maxnreg"="255" #0 {
  tail call void @llvm.nvvm.bar.warp.sync(i32 -1)
  store float 1.0, ptr addrspace(1) %p, align 4
  ret void
}
declare void @llvm.nvvm.bar.warp.sync(i32)
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
attributes #0 = { nounwind }
