; Each access of shared memory asks the engine first; a lane's own variable does not leave it.
define void @attn_entry_0(ptr %0) {
entry:
  %own = alloca float, align 4
  %group = load ptr addrspace(1), ptr %0, align 8
  %attn.v.1 = call ptr addrspace(1) @attn_access_1(ptr addrspace(1) %group, ptr getelementptr (i8, ptr @attn.sites, i64 0))
  %x = load ptr addrspace(1), ptr addrspace(1) %attn.v.1, align 8
  %attn.v.2 = call ptr addrspace(1) @attn_access_1(ptr addrspace(1) %x, ptr getelementptr (i8, ptr @attn.sites, i64 40))
  %v = load float, ptr addrspace(1) %attn.v.2, align 4
  store float %v, ptr %own, align 4
  %attn.v.3 = call ptr addrspace(1) @attn_access_1(ptr addrspace(1) %x, ptr getelementptr (i8, ptr @attn.sites, i64 80))
  store float %v, ptr addrspace(1) %attn.v.3, align 4
  ret void
}

@attn.line.0 = private constant [1 x i8] c"\00"
@attn.tables = private constant [1 x { ptr, ptr }] [{ ptr, ptr } { ptr null, ptr null }]
@attn.sites = internal constant [3 x { ptr, ptr, i32, i32, i32, i32, i32, i32 }] [{ ptr, ptr, i32, i32, i32, i32, i32, i32 } { ptr @attn.line.0, ptr @attn.tables, i32 0, i32 0, i32 8, i32 8, i32 1, i32 2 }, { ptr, ptr, i32, i32, i32, i32, i32, i32 } { ptr @attn.line.0, ptr @attn.tables, i32 0, i32 1, i32 4, i32 4, i32 33, i32 2 }, { ptr, ptr, i32, i32, i32, i32, i32, i32 } { ptr @attn.line.0, ptr @attn.tables, i32 0, i32 2, i32 4, i32 4, i32 2, i32 2 }]
declare void @attn_arrive(i32, ptr) nounwind
declare void @attn_about_to_multiply(ptr) nounwind
declare void @attn_made_nan(i32, ptr) nounwind
declare void @attn_judge_division(i32, ptr) nounwind
declare void @attn_judge_depth(ptr) nounwind
declare void @attn_trapped(ptr) nounwind
declare void @attn_check_constant(i64, i64, i64, ptr) nounwind
declare void @attn_check_local(i64, i64, i64, ptr) nounwind
declare ptr addrspace(3) @attn_threadgroup_array(i32, i32, i32, ptr) nounwind memory(none)
declare ptr addrspace(0) @attn_access_0(ptr addrspace(0), ptr) nounwind
declare ptr addrspace(1) @attn_access_1(ptr addrspace(1), ptr) nounwind
declare ptr addrspace(2) @attn_access_2(ptr addrspace(2), ptr) nounwind
declare ptr addrspace(3) @attn_access_3(ptr addrspace(3), ptr) nounwind
declare ptr addrspace(4) @attn_access_4(ptr addrspace(4), ptr) nounwind
declare ptr addrspace(1) @attn_access_range_1(ptr addrspace(1), i64, ptr) nounwind
declare ptr addrspace(2) @attn_access_range_2(ptr addrspace(2), i64, ptr) nounwind
declare ptr addrspace(3) @attn_access_range_3(ptr addrspace(3), i64, ptr) nounwind
declare ptr addrspace(4) @attn_access_range_4(ptr addrspace(4), i64, ptr) nounwind
