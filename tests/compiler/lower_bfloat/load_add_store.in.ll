; Numbers are read, added with a constant in float, rounded once and stored.
define void @f(ptr addrspace(1) %p, float %x) {
entry:
  %a = load bfloat, ptr addrspace(1) %p, align 2
  %b = fptrunc float %x to bfloat
  %sum = fadd bfloat %a, %b
  %more = fadd bfloat %sum, 0xR3F80
  store bfloat %more, ptr addrspace(1) %p, align 2
  ret void
}
