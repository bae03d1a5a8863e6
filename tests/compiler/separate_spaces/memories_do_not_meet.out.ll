; Types of accesses are parted by memory, constant memory being a buffer's; what has no type gets
; that of all types of its memory; other pointers and atomics are left alone.
%pair = type { float, i32 }

@"not a ptr addrspace(1) %x" = private constant i8 0

define float @f(ptr addrspace(1) %x, ptr addrspace(2) %c, ptr addrspace(3) %t, ptr %own) {
entry:
  %a = load float, ptr addrspace(1) %x, align 4, !tbaa !14
  store float %a, ptr addrspace(3) %t, align 4, !tbaa !18
  %b = load volatile i32, ptr addrspace(2) %c, align 4, !tbaa !21, !range !8
  store ptr addrspace(1) %x, ptr addrspace(3) %t, align 8, !tbaa !22
  %d = load i32, ptr addrspace(1) %x, align 4, !tbaa !23
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
!10 = !{!"attnproto memory"}
!11 = !{!"buffers", !10, i64 0}
!12 = !{!"omnipotent char", !11, i64 0}
!13 = !{!"float", !12, i64 0}
!14 = !{!13, !13, i64 0}
!15 = !{!"threadgroup memory", !10, i64 0}
!16 = !{!"omnipotent char", !15, i64 0}
!17 = !{!"float", !16, i64 0}
!18 = !{!17, !17, i64 0}
!19 = !{!"int", !12, i64 0}
!20 = !{!"pair", !13, i64 0, !19, i64 4}
!21 = !{!20, !19, i64 4}
!22 = !{!15, !15, i64 0}
!23 = !{!11, !11, i64 0}
