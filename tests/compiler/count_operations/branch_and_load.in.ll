; A segment a block: each says that it is run, and where its accesses go.
define void @attn_entry_0(ptr %0) {
entry:
  %group = load ptr addrspace(1), ptr %0, align 8
  %x = load ptr addrspace(1), ptr addrspace(1) %group, align 8
  %v = load float, ptr addrspace(1) %x, align 4
  %big = fcmp ogt float %v, 1.000000e+00
  br i1 %big, label %then, label %end

then:
  %half = fmul float %v, 5.000000e-01
  store float %half, ptr addrspace(1) %x, align 4
  br label %end

end:
  ret void
}
