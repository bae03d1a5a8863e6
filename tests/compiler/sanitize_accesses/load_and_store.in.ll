; Each access of shared memory asks the engine first; a lane's own variable does not leave it.
define void @attn_entry_0(ptr %0) {
entry:
  %own = alloca float, align 4
  %group = load ptr addrspace(1), ptr %0, align 8
  %x = load ptr addrspace(1), ptr addrspace(1) %group, align 8
  %v = load float, ptr addrspace(1) %x, align 4
  store float %v, ptr %own, align 4
  store float %v, ptr addrspace(1) %x, align 4
  ret void
}
