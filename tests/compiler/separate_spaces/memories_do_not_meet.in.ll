; Types of accesses are parted by memory, constant memory being a buffer's; what has no type gets
; that of all types of its memory; other pointers and atomics are left alone.
%pair = type { float, i32 }

@"not a ptr addrspace(1) %x" = private constant i8 0

define float @f(ptr addrspace(1) %x, ptr addrspace(2) %c, ptr addrspace(3) %t, ptr %own) {
entry:
  %a = load float, ptr addrspace(1) %x, align 4, !tbaa !3
  store float %a, ptr addrspace(3) %t, align 4, !tbaa !3
  %b = load volatile i32, ptr addrspace(2) %c, align 4, !tbaa !5, !range !8
  store ptr addrspace(1) %x, ptr addrspace(3) %t, align 8
  %d = load i32, ptr addrspace(1) %x, align 4
  store i32 %d, ptr %own, align 4, !tbaa !6
  store ptr addrspace(1) %x, ptr %own, align 8, !tbaa !6
  %e = load atomic i32, ptr addrspace(3) %t monotonic, align 4
  %g = atomicrmw add ptr addrspace(3) %t, i32 %b monotonic, align 4
  ret float %a
}

!0 = !{!"a root"}
!1 = !{!"omnipotent char", !0, i64 0}
!2 = !{!"float", !1, i64 0}
!3 = !{!2, !2, i64 0}
!4 = !{!"pair", !2, i64 0, !7, i64 4}
!5 = !{!4, !7, i64 4}
!6 = !{!7, !7, i64 0}
!7 = !{!"int", !1, i64 0}
!8 = !{i32 0, i32 9}
!9 = distinct !{!9, !"a loop"}
