; Each variable is a shared array of its own, at a multiple of 16 bytes at least.



define void @attn_entry_0(ptr %lane) {
  %b = call ptr addrspace(3) @_Z27attn_threadgroup_variableILi2ELm64ELm64EEv()
  %a = call ptr addrspace(3) @_Z27attn_threadgroup_variableILi1ELm20ELm4EEv()
  store float 1.000000e+00, ptr addrspace(3) %a, align 4
  store float 2.000000e+00, ptr addrspace(3) %b, align 4
  ret void
}
@attn_shared_0 = internal addrspace(3) global [20 x i8] undef, align 16
define internal ptr addrspace(3) @_Z27attn_threadgroup_variableILi1ELm20ELm4EEv() alwaysinline {
  ret ptr addrspace(3) @attn_shared_0
}
@attn_shared_2 = internal addrspace(3) global [64 x i8] undef, align 64
define internal ptr addrspace(3) @_Z27attn_threadgroup_variableILi2ELm64ELm64EEv() alwaysinline {
  ret ptr addrspace(3) @attn_shared_2
}
