; A threadgroup of 32 turns its numbers round by threadgroup memory, adds its place, and multiplies
; a matrix with itself. Whether numbers are turned, a constructor with branches decides:
; turned = wide > 8 ? other : true. Written by hand, as Apple's compiler writes AIR.
target datalayout = "e-p:64:64:64-i1:8:8-i8:8:8-i16:16:16-i32:32:32-i64:64:64-f32:32:32-f64:64:64-v16:16:16-v24:32:32-v32:32:32-v48:64:64-v64:64:64-v96:128:128-v128:128:128-v192:256:256-v256:256:256-v512:512:512-v1024:1024:1024-n8:16:32"
target triple = "air64_v26-apple-macosx14.0.0"

@_Z4wide.MTL_FC_INIT_0_i = internal addrspace(2) externally_initialized constant i32 undef, section "air.fc_initializer", align 4
@_Z5other.MTL_FC_INIT_1_b = internal addrspace(2) externally_initialized constant i8 undef, section "air.fc_initializer", align 1
@_ZL6turned = internal addrspace(2) global i8 undef, align 1
@_ZZ4turnE6places = internal addrspace(3) global [32 x i32] undef, align 4
@_ZZ4turnE3one.0 = internal addrspace(3) global i32 undef, align 4
@table = internal unnamed_addr addrspace(2) constant [2 x i32] [i32 100, i32 200], align 4
@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 65535, ptr @_GLOBAL__sub_I_turn, ptr null }]
@llvm.compiler.used = appending global [1 x ptr] [ptr addrspacecast (ptr addrspace(2) @_ZL6turned to ptr)]

define internal void @_GLOBAL__sub_I_turn() #0 section "air.static_init" {
begin:
  %wide = load i32, ptr addrspace(2) @_Z4wide.MTL_FC_INIT_0_i, align 4
  %large = icmp sgt i32 %wide, 8
  br i1 %large, label %asked, label %always

asked:
  %other = load i8, ptr addrspace(2) @_Z5other.MTL_FC_INIT_1_b, align 1, !range !30
  store i8 %other, ptr addrspace(2) @_ZL6turned, align 1
  ret void

always:
  store i8 1, ptr addrspace(2) @_ZL6turned, align 1
  ret void
}

define weak_odr void @turn(ptr addrspace(1) noundef %x, ptr addrspace(3) noundef %given, <3 x i16> noundef %place, <2 x i32> noundef %group, i16 noundef %lane) #1 {
first:
  %n = extractelement <3 x i16> %place, i64 0
  %wide = zext i16 %n to i64
  %at = getelementptr inbounds i32, ptr addrspace(1) %x, i64 %wide
  %value = load i32, ptr addrspace(1) %at, align 4
  %own = getelementptr inbounds [32 x i32], ptr addrspace(3) @_ZZ4turnE6places, i64 0, i64 %wide
  store i32 %value, ptr addrspace(3) %own, align 4
  %mine = getelementptr inbounds i32, ptr addrspace(3) %given, i64 %wide
  store i32 7, ptr addrspace(3) %mine, align 4
  store i32 9, ptr addrspace(3) @_ZZ4turnE3one.0, align 4
  tail call void @air.wg.barrier(i32 2, i32 1) #3
  %turned = load i8, ptr addrspace(2) @_ZL6turned, align 1
  %not = icmp eq i8 %turned, 0
  br i1 %not, label %last, label %turn

turn:
  %left = sub i64 31, %wide
  %from = getelementptr inbounds [32 x i32], ptr addrspace(3) @_ZZ4turnE6places, i64 0, i64 %left
  %seen = load i32, ptr addrspace(3) %from, align 4
  br label %last

last:
  %kept = phi i32 [ %value, %first ], [ %seen, %turn ]
  %second = load i32, ptr addrspace(3) getelementptr inbounds ([32 x i32], ptr addrspace(3) @_ZZ4turnE6places, i64 0, i64 1), align 4
  %const = load i32, ptr addrspace(2) getelementptr inbounds ([2 x i32], ptr addrspace(2) @table, i64 0, i64 1), align 4
  %one = load i32, ptr addrspace(3) @_ZZ4turnE3one.0, align 4
  %lent = load i32, ptr addrspace(3) %mine, align 4
  %y = extractelement <2 x i32> %group, i64 1
  %l = zext i16 %lane to i32
  %a = add i32 %kept, %second
  %b = add i32 %a, %const
  %c = add i32 %b, %one
  %d = add i32 %c, %lent
  %e = add i32 %d, %y
  %f = add i32 %e, %l
  store i32 %f, ptr addrspace(1) %at, align 4
  ret void
}

declare void @air.wg.barrier(i32, i32) #2

attributes #0 = { mustprogress "no-builtins" }
attributes #1 = { convergent nounwind "min-legal-vector-width"="96" }
attributes #2 = { convergent nounwind willreturn }
attributes #3 = { convergent nounwind willreturn }

!air.version = !{!0}
!air.language_version = !{!1}
!air.compile_options = !{}
!air.kernel = !{!4}
!air.function_constants = !{!16, !17}
!0 = !{i32 2, i32 6, i32 0}
!1 = !{!"Metal", i32 3, i32 1, i32 0}
!4 = !{ptr @turn, !5, !6}
!5 = !{}
!6 = !{!7, !8, !9, !10, !11}
!7 = !{i32 0, !"air.buffer", !"air.location_index", i32 2, i32 1, !"air.read_write", !"air.address_space", i32 1, !"air.arg_type_size", i32 4, !"air.arg_type_align_size", i32 4, !"air.arg_type_name", !"int", !"air.arg_name", !"x"}
!8 = !{i32 1, !"air.buffer", !"air.location_index", i32 1, i32 1, !"air.read_write", !"air.address_space", i32 3, !"air.arg_type_size", i32 4, !"air.arg_type_align_size", i32 4, !"air.arg_type_name", !"int", !"air.arg_name", !"given"}
!9 = !{i32 2, !"air.thread_position_in_threadgroup", !"air.arg_type_name", !"ushort3", !"air.arg_name", !"place"}
!10 = !{i32 3, !"air.threadgroup_position_in_grid", !"air.arg_type_name", !"uint2", !"air.arg_name", !"group"}
!11 = !{i32 4, !"air.thread_index_in_simdgroup", !"air.arg_type_name", !"ushort", !"air.arg_name", !"lane"}
!16 = !{ptr addrspace(2) @_Z4wide.MTL_FC_INIT_0_i, !"int", !"wide", i32 0, i1 true}
!17 = !{ptr addrspace(2) @_Z5other.MTL_FC_INIT_1_b, !"bool", !"other", i32 1, i1 true}
!30 = !{i8 0, i8 2}
