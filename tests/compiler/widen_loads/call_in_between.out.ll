; A call of which nothing is known may write what is read: the loads stay where they are.
declare void @"g h"()

define void @f(ptr addrspace(1) %p, ptr addrspace(3) %q) {
entry:
  %at0 = getelementptr half, ptr addrspace(1) %p, i64 0
  %v0 = load half, ptr addrspace(1) %at0, align 2
  %at1 = getelementptr half, ptr addrspace(1) %p, i64 1
  %v1 = load half, ptr addrspace(1) %at1, align 2
  %at2 = getelementptr half, ptr addrspace(1) %p, i64 2
  %v2 = load half, ptr addrspace(1) %at2, align 2
  %at3 = getelementptr half, ptr addrspace(1) %p, i64 3
  %v3 = load half, ptr addrspace(1) %at3, align 2
  notail call void @"g h"()
  %at4 = getelementptr half, ptr addrspace(1) %p, i64 4
  %v4 = load half, ptr addrspace(1) %at4, align 2
  %at5 = getelementptr half, ptr addrspace(1) %p, i64 5
  %v5 = load half, ptr addrspace(1) %at5, align 2
  %at6 = getelementptr half, ptr addrspace(1) %p, i64 6
  %v6 = load half, ptr addrspace(1) %at6, align 2
  %at7 = getelementptr half, ptr addrspace(1) %p, i64 7
  %v7 = load half, ptr addrspace(1) %at7, align 2
  %sum0 = fadd half %v0, %v1
  %sum1 = fadd half %sum0, %v2
  %sum2 = fadd half %sum1, %v3
  %sum3 = fadd half %sum2, %v4
  %sum4 = fadd half %sum3, %v5
  %sum5 = fadd half %sum4, %v6
  %sum6 = fadd half %sum5, %v7
  store half %sum6, ptr addrspace(3) %q, align 2
  ret void
}
