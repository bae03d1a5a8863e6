; It may give itself one buffer twice: nothing is said.
define void @attn_entry_0(ptr addrspace(1) %x) {
  call void @kernel(ptr addrspace(1) %x, ptr addrspace(1) %x)
  ret void
}

define internal void @kernel(ptr addrspace(1) %x, ptr addrspace(1) %y) {
  %a = load i1, ptr addrspace(1) %x, align 1
  br i1 %a, label %again, label %end

again:
  call void @kernel(ptr addrspace(1) %x, ptr addrspace(1) %x)
  br label %end

end:
  ret void
}
