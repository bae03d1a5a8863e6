; y[i] = (2 * colour)[i], where the host gives the colour; written by hand, as Apple's compiler
; writes AIR.
target datalayout = "e-p:64:64:64-i1:8:8-i8:8:8-i16:16:16-i32:32:32-i64:64:64-f32:32:32-f64:64:64-v16:16:16-v24:32:32-v32:32:32-v48:64:64-v64:64:64-v96:128:128-v128:128:128-v192:256:256-v256:256:256-v512:512:512-v1024:1024:1024-n8:16:32"
target triple = "air64_v26-apple-macosx14.0.0"

@_Z6colour.MTL_FC_INIT_2_Dv3_f = internal addrspace(2) externally_initialized constant <3 x float> undef, section "air.fc_initializer", align 16
@_ZL5twice = internal addrspace(2) global <3 x float> undef, align 16
@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 65535, ptr @_GLOBAL__sub_I_tint, ptr null }]

define internal void @_GLOBAL__sub_I_tint() #0 section "air.static_init" {
  %1 = load <3 x float>, ptr addrspace(2) @_Z6colour.MTL_FC_INIT_2_Dv3_f, align 16
  %2 = fmul <3 x float> %1, <float 2.000000e+00, float 2.000000e+00, float 2.000000e+00>
  store <3 x float> %2, ptr addrspace(2) @_ZL5twice, align 16
  ret void
}

define weak_odr void @tint(ptr addrspace(1) noundef "air-buffer-no-alias" %0, i32 noundef %1) local_unnamed_addr #0 {
  %3 = load <3 x float>, ptr addrspace(2) @_ZL5twice, align 16
  %4 = extractelement <3 x float> %3, i32 %1
  %5 = zext i32 %1 to i64
  %6 = getelementptr inbounds float, ptr addrspace(1) %0, i64 %5
  store float %4, ptr addrspace(1) %6, align 4
  ret void
}

attributes #0 = { nounwind "frame-pointer"="all" "no-builtins" }

!air.version = !{!0}
!air.language_version = !{!1}
!air.compile_options = !{!2, !3}
!air.kernel = !{!4}
!air.function_constants = !{!9}
!0 = !{i32 2, i32 6, i32 0}
!1 = !{!"Metal", i32 3, i32 1, i32 0}
!2 = !{!"air.compile.denorms_disable"}
!3 = !{!"air.compile.fast_math_disable"}
!4 = !{ptr @tint, !5, !6}
!5 = !{}
!6 = !{!7, !8}
!7 = !{i32 0, !"air.buffer", !"air.location_index", i32 0, i32 1, !"air.read_write", !"air.address_space", i32 1, !"air.arg_type_size", i32 4, !"air.arg_type_align_size", i32 4, !"air.arg_type_name", !"float", !"air.arg_name", !"y"}
!8 = !{i32 1, !"air.thread_position_in_grid", !"air.arg_type_name", !"uint", !"air.arg_name", !"i"}
!9 = !{ptr addrspace(2) @_Z6colour.MTL_FC_INIT_2_Dv3_f, !"float3", !"colour", i32 2, i1 true}
