; In the order of their numbers, each at a multiple of its alignment, of 16 at least.
declare ptr addrspace(3) @_Z27attn_threadgroup_variableILi1ELm20ELm4EEv()
declare ptr addrspace(3) @_Z27attn_threadgroup_variableILi2ELm64ELm64EEv()

define void @attn_entry_0(ptr %lane) {
  %b = call ptr addrspace(3) @_Z27attn_threadgroup_variableILi2ELm64ELm64EEv()
  %a = call ptr addrspace(3) @_Z27attn_threadgroup_variableILi1ELm20ELm4EEv()
  store float 1.000000e+00, ptr addrspace(3) %a, align 4
  store float 2.000000e+00, ptr addrspace(3) %b, align 4
  ret void
}
