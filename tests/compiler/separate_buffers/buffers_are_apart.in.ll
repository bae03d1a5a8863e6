; What the kernel calls is inlined, and then the kernel: accesses say which buffers they do not meet,
; also in functions and through structures. Nothing is said of threadgroup memory, of a pointer that
; lies in memory, which may lead anywhere, and of what a barrier lets others write.
declare ptr addrspace(1) @buffer(ptr, i32)
declare void @attn_threadgroup_barrier()

define void @attn_entry_0(ptr noundef %lane) #0 {
  %x = call ptr addrspace(1) @buffer(ptr %lane, i32 0)
  %c = call ptr addrspace(1) @buffer(ptr %lane, i32 1)
  %constant = addrspacecast ptr addrspace(1) %c to ptr addrspace(2)
  %y = call ptr addrspace(1) @buffer(ptr %lane, i32 2)
  call void @kernel(ptr addrspace(1) %x, ptr addrspace(2) %constant, ptr addrspace(3) null, i32 1, ptr addrspace(1) %y) #0
  ret void
}

define internal void @kernel(ptr addrspace(1) nocapture noundef align 4 dereferenceable(8) %x, ptr addrspace(2) captures(none) %c, ptr addrspace(3) noundef %shared, i32 range(i32 0, 9) %n, ptr addrspace(1) %0) alwaysinline #0 {
entry:
  %held = alloca { i32, ptr addrspace(1) }, align 8
  %place = getelementptr { i32, ptr addrspace(1) }, ptr %held, i32 0, i32 1
  store ptr addrspace(1) %x, ptr %place, align 8
  %a = load float, ptr addrspace(2) %c, align 4
  call void @helper(ptr addrspace(1) %0, float %a)
  call void @attn_threadgroup_barrier()
  %again = load ptr addrspace(1), ptr %place, align 8
  %b = load float, ptr addrspace(1) %again, align 4
  store float %b, ptr addrspace(3) %shared, align 4
  %pointed = load ptr addrspace(1), ptr addrspace(1) %x, align 8
  store float %b, ptr addrspace(1) %pointed, align 4
  ret void
}

define internal void @helper(ptr addrspace(1) noundef %y, float %a) alwaysinline #0 {
  store float %a, ptr addrspace(1) %y, align 4
  ret void
}

attributes #0 = { nounwind }
