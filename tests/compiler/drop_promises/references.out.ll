; What a reference promises would let LLVM read it where the text does not; alignment may stay.
define float @f(ptr addrspace(1) noundef align 4 %x, ptr %y) {
  %v = load float, ptr addrspace(1) %x, align 4
  ret float %v
}
