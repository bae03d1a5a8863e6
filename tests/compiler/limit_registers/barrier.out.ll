; A kernel with a threadgroup barrier, here of a function that it calls, stays as it is.
define internal void @wait() #0 {
  tail call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)
  ret void
}
define ptx_kernel void @attn_launch_0(ptr addrspace(1) %p) local_unnamed_addr #0 {
  call void @wait()
  ret void
}
declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)
attributes #0 = { noinline nounwind }
