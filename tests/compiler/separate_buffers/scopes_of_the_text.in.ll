; A function of the text that promises the same of its own arguments: where its scopes begin stays
; said, since that may be in a loop.
define void @attn_entry_0(ptr addrspace(1) %x) {
  call void @kernel(ptr addrspace(1) %x)
  ret void
}

define internal void @kernel(ptr addrspace(1) %x) alwaysinline {
  call void @own(ptr addrspace(1) %x)
  ret void
}

define internal void @own(ptr addrspace(1) noalias %y) alwaysinline {
  store float 1.0, ptr addrspace(1) %y, align 4
  ret void
}
