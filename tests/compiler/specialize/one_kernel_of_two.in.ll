; The kernel, what it calls and the value of its constant stay; the other kernel leaves.
@on = external addrspace(2) constant i8, align 1
@scale = external addrspace(2) constant float, align 4

define float @twice(float %x) {
  %y = fadd float %x, %x
  ret float %y
}

define void @attn_entry_0(ptr %lane) {
  %flag = load i8, ptr addrspace(2) @on, align 1
  %some = trunc i8 %flag to i1
  %y = call float @twice(float 1.000000e+00)
  ret void
}

define void @attn_entry_1(ptr %lane) {
  %y = load float, ptr addrspace(2) @scale, align 4
  ret void
}
