; The kernel, what it calls and the value of its constant stay; the other kernel leaves.
@on = internal addrspace(2) constant i8 1
define internal float @twice(float %x) {
  %y = fadd float %x, %x
  ret float %y
}
define void @attn_entry_0(ptr %lane) {
  %flag = load i8, ptr addrspace(2) @on, align 1
  %some = trunc i8 %flag to i1
  %y = call float @twice(float 1.000000e+00)
  ret void
}
