; ModuleID = '<string>'
source_filename = "<string>"

declare ptr addrspace(1) @buffer(ptr, i32)

declare void @attn_threadgroup_barrier()

; Function Attrs: nounwind willreturn memory(inaccessiblemem: readwrite)

; Function Attrs: nounwind willreturn memory(inaccessiblemem: readwrite)

; Function Attrs: nounwind
define void @attn_entry_0(ptr noundef %lane) #1 {
  %x = call ptr addrspace(1) @buffer(ptr %lane, i32 0)
  %c = call ptr addrspace(1) @buffer(ptr %lane, i32 1)
  %constant = addrspacecast ptr addrspace(1) %c to ptr addrspace(2)
  %y = call ptr addrspace(1) @buffer(ptr %lane, i32 2)
  %a.i = load float, ptr addrspace(2) %constant, align 4, !alias.scope !3, !noalias !7
  store float %a.i, ptr addrspace(1) %y, align 4, !alias.scope !5, !noalias !8
  call void @attn_threadgroup_barrier() #1
  %b.i = load float, ptr addrspace(1) %x, align 4, !alias.scope !0, !noalias !9
  store float %b.i, ptr addrspace(3) null, align 4, !noalias !10
  %pointed.i = load ptr addrspace(1), ptr addrspace(1) %x, align 8, !alias.scope !0, !noalias !9
  store float %b.i, ptr addrspace(1) %pointed.i, align 4
  ret void
}

; Function Attrs: nocallback nofree nosync nounwind willreturn memory(inaccessiblemem: readwrite)
declare void @llvm.experimental.noalias.scope.decl(metadata) #2

attributes #0 = { nounwind willreturn memory(inaccessiblemem: readwrite) }
attributes #1 = { nounwind }
attributes #2 = { nocallback nofree nosync nounwind willreturn memory(inaccessiblemem: readwrite) }

!0 = !{!1}
!1 = distinct !{!1, !2, !"kernel: %x"}
!2 = distinct !{!2, !"kernel"}
!3 = !{!4}
!4 = distinct !{!4, !2, !"kernel: %c"}
!5 = !{!6}
!6 = distinct !{!6, !2, !"kernel: argument 2"}
!7 = !{!1, !6}
!8 = !{!1, !4}
!9 = !{!4, !6}
!10 = !{!1, !4, !6}
