; Constants are ordinary memory here; what a string says of them stays.
@table = internal addrspace(4) constant [2 x float] [float 1.000000e+00, float 2.000000e+00]
@text = private constant [14 x i8] c"addrspace(4)\0A\00"

define float @f(ptr addrspace(4) %x) {
  %v = load float, ptr addrspace(4) @table, align 4
  ret float %v
}
