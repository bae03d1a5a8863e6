; Other threadgroups may be told by an atomic of what lies elsewhere: nothing is said.
define void @attn_entry_0(ptr addrspace(1) %x) {
  call void @kernel(ptr addrspace(1) %x, ptr addrspace(1) %x)
  ret void
}

define internal void @kernel(ptr addrspace(1) %x, ptr addrspace(1) %y) {
  store i32 1, ptr addrspace(1) %x, align 4
  store atomic i32 1, ptr addrspace(1) %y monotonic, align 4
  ret void
}
