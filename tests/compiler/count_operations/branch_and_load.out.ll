; A segment a block: each says that it is run, and where its accesses go.
define void @attn_entry_0(ptr %0) {
entry:
  call void @attn_count_segment(ptr @attn.counted, i32 0)
  %group = load ptr addrspace(1), ptr %0, align 8
  %x = load ptr addrspace(1), ptr addrspace(1) %group, align 8
  %attn.access.0 = ptrtoint ptr addrspace(1) %x to i64
  call void @attn_count_access(i64 %attn.access.0)
  %v = load float, ptr addrspace(1) %x, align 4
  %big = fcmp ogt float %v, 1.000000e+00
  br i1 %big, label %then, label %end

then:
  call void @attn_count_segment(ptr @attn.counted, i32 1)
  %half = fmul float %v, 5.000000e-01
  %attn.access.1 = ptrtoint ptr addrspace(1) %x to i64
  call void @attn_count_access(i64 %attn.access.1)
  store float %half, ptr addrspace(1) %x, align 4
  br label %end

end:
  call void @attn_count_segment(ptr @attn.counted, i32 2)
  ret void
}

@attn.described = private constant [593 x i8] c"{\22segments\22: [[{\22instructions\22: 6, \22device_loads\22: 1, \22device_load_bytes\22: 4, \22device_loads_vector\22: 0, \22branches\22: 1}, true], [{\22instructions\22: 4, \22float_operations\22: 1, \22device_stores\22: 1, \22device_store_bytes\22: 4, \22device_stores_vector\22: 0}, false], [{\22instructions\22: 1}, false]], \22costs\22: [[{\22constant\22: 2, \22device\22: 1, \22float\22: 1, \22branch\22: 1}, 29.599999999999998, 18.54], [{\22float\22: 1, \22device\22: 1}, 24.2, 15.54], [{}, 0.0, 0.0]], \22accesses\22: [[0, \22device\22, \22load\22], [1, \22device\22, \22store\22]], \22code_instructions\22: 11, \22live_registers\22: 3, \22front_end\22: \22clang\22, \22text\22: \22b19088b203436e3e\22}\00"
@attn.segments = private constant [3 x { i32, i32, i32 }] [{ i32, i32, i32 } { i32 0, i32 0, i32 1 }, { i32, i32, i32 } { i32 256, i32 1, i32 1 }, { i32, i32, i32 } { i32 512, i32 2, i32 0 }]
@attn.accesses = private constant [2 x { i32, i32, i32 }] [{ i32, i32, i32 } { i32 1, i32 0, i32 4 }, { i32, i32, i32 } { i32 1, i32 1, i32 4 }]
@attn.counted = private constant { ptr, ptr, ptr, i32, i32 } { ptr @attn.described, ptr @attn.segments, ptr @attn.accesses, i32 3, i32 2 }
declare void @attn_count_segment(ptr, i32) nounwind willreturn
declare void @attn_count_access(i64) nounwind willreturn memory(inaccessiblemem: readwrite)
