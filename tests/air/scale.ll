; y[i] = fma(scale, exp(x[i]), shift[i]) * times, where shift is there; written by hand, as
; Apple's compiler writes AIR.
target datalayout = "e-p:64:64:64-i1:8:8-i8:8:8-i16:16:16-i32:32:32-i64:64:64-f32:32:32-f64:64:64-v16:16:16-v24:32:32-v32:32:32-v48:64:64-v64:64:64-v96:128:128-v128:128:128-v192:256:256-v256:256:256-v512:512:512-v1024:1024:1024-n8:16:32"
target triple = "air64_v26-apple-macosx14.0.0"

@_Z7shifted.MTL_FC_INIT_3_b = internal addrspace(2) externally_initialized constant i8 undef, section "air.fc_initializer", align 1
@_Z5times.MTL_FC_INIT_7_i = internal addrspace(2) externally_initialized constant i32 undef, section "air.fc_initializer", align 4
@_Z6unread.MTL_FC_INIT_8_i = internal addrspace(2) externally_initialized constant i32 undef, section "air.fc_initializer", align 4
@_ZL7shifted = internal addrspace(2) global i8 undef, align 1
@_ZL5times = internal addrspace(2) global i32 undef, align 4
@_ZL6unread = internal addrspace(2) global i32 undef, align 4
@__metal_implicit_fc_pred_0 = internal addrspace(2) global i8 0, align 1
@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 65535, ptr @_GLOBAL__sub_I_scale, ptr null }]

define internal void @_GLOBAL__sub_I_scale() #0 section "air.static_init" {
  %1 = load i8, ptr addrspace(2) @_Z7shifted.MTL_FC_INIT_3_b, align 1, !tbaa !30
  store i8 %1, ptr addrspace(2) @_ZL7shifted, align 1
  %2 = load i32, ptr addrspace(2) @_Z5times.MTL_FC_INIT_7_i, align 4
  store i32 %2, ptr addrspace(2) @_ZL5times, align 4
  %3 = load i32, ptr addrspace(2) @_Z6unread.MTL_FC_INIT_8_i, align 4
  store i32 %3, ptr addrspace(2) @_ZL6unread, align 4
  %4 = tail call i8 @air.normalize_function_constant_predicate.i8(i8 %1) #2
  store i8 %4, ptr addrspace(2) @__metal_implicit_fc_pred_0, align 1
  ret void
}

define internal fastcc float @times_of(float %0) #0 {
  %2 = load i32, ptr addrspace(2) @_ZL5times, align 4
  %3 = tail call float @air.convert.f.f32.s.i32(i32 %2) #2
  %4 = fmul float %0, %3
  ret float %4
}

define weak_odr void @scale(ptr addrspace(1) noundef "air-buffer-no-alias" %0, ptr addrspace(1) noundef "air-buffer-no-alias" %1, ptr addrspace(2) noundef align 4 dereferenceable(4) "air-buffer-no-alias" %2, ptr addrspace(1) noundef "air-buffer-no-alias" %3, i32 noundef %4) local_unnamed_addr #1 {
  %6 = zext i32 %4 to i64
  %7 = getelementptr inbounds float, ptr addrspace(1) %0, i64 %6
  %8 = load float, ptr addrspace(1) %7, align 4, !tbaa !30
  %9 = tail call float @air.exp.f32(float %8) #2
  %10 = load i8, ptr addrspace(2) @_ZL7shifted, align 1
  %11 = icmp eq i8 %10, 0
  br i1 %11, label %15, label %12

12:
  %13 = getelementptr inbounds float, ptr addrspace(1) %3, i64 %6
  %14 = load float, ptr addrspace(1) %13, align 4
  br label %15, !llvm.loop !40

15:
  %16 = phi float [ 0.000000e+00, %5 ], [ %14, %12 ]
  %17 = load float, ptr addrspace(2) %2, align 4
  %18 = tail call float @llvm.fmuladd.f32(float %17, float %9, float %16)
  %19 = tail call fastcc float @times_of(float %18) #3
  %20 = getelementptr inbounds float, ptr addrspace(1) %1, i64 %6
  store float %19, ptr addrspace(1) %20, align 4
  ret void
}

declare i8 @air.normalize_function_constant_predicate.i8(i8) local_unnamed_addr #2
declare float @air.convert.f.f32.s.i32(i32) local_unnamed_addr #2
declare float @air.exp.f32(float) local_unnamed_addr #2
declare float @llvm.fmuladd.f32(float, float, float) #2

attributes #0 = { nounwind "frame-pointer"="all" "no-builtins" }
attributes #1 = { convergent mustprogress nounwind "frame-pointer"="all" "max-work-group-size"="96" "no-builtins" }
attributes #2 = { nounwind willreturn memory(none) }
attributes #3 = { convergent nounwind }

!air.version = !{!0}
!air.language_version = !{!1}
!air.compile_options = !{!2, !3}
!air.kernel = !{!4}
!air.function_constants = !{!16, !17, !18}
!0 = !{i32 2, i32 6, i32 0}
!1 = !{!"Metal", i32 3, i32 1, i32 0}
!2 = !{!"air.compile.denorms_disable"}
!3 = !{!"air.compile.fast_math_disable"}
!4 = !{ptr @scale, !5, !6, !15}
!5 = !{}
!6 = !{!7, !8, !9, !10, !12}
!7 = !{i32 0, !"air.buffer", !"air.location_index", i32 0, i32 1, !"air.read", !"air.address_space", i32 1, !"air.arg_type_size", i32 4, !"air.arg_type_align_size", i32 4, !"air.arg_type_name", !"float", !"air.arg_name", !"x"}
!8 = !{i32 1, !"air.buffer", !"air.location_index", i32 1, i32 1, !"air.read_write", !"air.address_space", i32 1, !"air.arg_type_size", i32 4, !"air.arg_type_align_size", i32 4, !"air.arg_type_name", !"float", !"air.arg_name", !"y"}
!9 = !{i32 2, !"air.buffer", !"air.buffer_size", i32 4, !"air.location_index", i32 2, i32 1, !"air.read", !"air.address_space", i32 2, !"air.arg_type_size", i32 4, !"air.arg_type_align_size", i32 4, !"air.arg_type_name", !"float", !"air.arg_name", !"factor"}
!10 = !{i32 3, !"air.function_constant", !11, !"air.buffer", !"air.location_index", i32 5, i32 1, !"air.read", !"air.address_space", i32 1, !"air.arg_type_size", i32 4, !"air.arg_type_align_size", i32 4, !"air.arg_type_name", !"float", !"air.arg_name", !"shift"}
!11 = !{ptr addrspace(2) @__metal_implicit_fc_pred_0, !"bool", !"shifted"}
!12 = !{i32 4, !"air.thread_position_in_grid", !"air.arg_type_name", !"uint", !"air.arg_name", !"i"}
!15 = !{!"air.max_work_group_size", i32 96}
!16 = !{ptr addrspace(2) @_Z7shifted.MTL_FC_INIT_3_b, !"bool", !"shifted", i32 3, i1 true}
!17 = !{ptr addrspace(2) @_Z5times.MTL_FC_INIT_7_i, !"int", !"times", i32 7, i1 true}
!18 = !{ptr addrspace(2) @_Z6unread.MTL_FC_INIT_8_i, !"int", !"unread", i32 8, i1 true}
!30 = !{!31, !31, i64 0}
!31 = !{!"float"}
!40 = distinct !{!40, !41, !42}
!41 = !{!"llvm.loop.mustprogress"}
!42 = !{!"llvm.loop.unroll.full"}
