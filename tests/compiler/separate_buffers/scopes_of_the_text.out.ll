; ModuleID = '<string>'
source_filename = "<string>"

; Function Attrs: nocallback nofree nosync nounwind willreturn memory(inaccessiblemem: readwrite)
declare void @llvm.experimental.noalias.scope.decl(metadata) #0

; Function Attrs: nounwind willreturn memory(inaccessiblemem: readwrite)

; Function Attrs: nounwind willreturn memory(inaccessiblemem: readwrite)

define void @attn_entry_0(ptr addrspace(1) %x) {
  call void @llvm.experimental.noalias.scope.decl(metadata !0)
  call void @llvm.experimental.noalias.scope.decl(metadata !3)
  store float 1.000000e+00, ptr addrspace(1) %x, align 4, !alias.scope !6
  ret void
}

attributes #0 = { nocallback nofree nosync nounwind willreturn memory(inaccessiblemem: readwrite) }
attributes #1 = { nounwind willreturn memory(inaccessiblemem: readwrite) }

!0 = !{!1}
!1 = distinct !{!1, !2, !"kernel: %x"}
!2 = distinct !{!2, !"kernel"}
!3 = !{!4}
!4 = distinct !{!4, !5, !"own: %y"}
!5 = distinct !{!5, !"own"}
!6 = !{!4, !1}
