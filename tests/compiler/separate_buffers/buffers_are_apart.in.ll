; Buffers and constants get noalias, and are shown to a function that may keep them, first of all in
; the kernel, which comes last; threadgroup memory and numbers do not. A promise to keep no pointer
; goes, and its place in the list of attributes does not matter.
declare void @llvm.assume(i1)
declare ptr addrspace(1) @buffer(ptr, i32)

define void @attn_entry_0(ptr noundef %lane) #0 {
  call void @llvm.assume(i1 true)
  %x = call ptr addrspace(1) @buffer(ptr %lane, i32 0)
  call void @kernel(ptr addrspace(1) %x, ptr addrspace(2) null, ptr addrspace(3) null, i32 1, ptr addrspace(1) %x) #0
  ret void
}

define internal void @kernel(ptr addrspace(1) nocapture noundef readonly align 4 dereferenceable(8) %x, ptr addrspace(2) captures(none) %c, ptr addrspace(3) noundef %shared, i32 range(i32 0, 9) %n, ptr addrspace(1) %0) #0 {
entry:
  %a = load float, ptr addrspace(1) %x, align 4
  call void @helper(ptr addrspace(1) %0, float %a)
  ret void
}

define internal void @helper(ptr addrspace(1) noundef %y, float %a) #0 {
  store float %a, ptr addrspace(1) %y, align 4
  ret void
}

attributes #0 = { nounwind }
