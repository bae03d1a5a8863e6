; Eight reads of one pattern are calls of one function, written once; a ninth of another is not.
declare i32 @attn_lane_index()

define void @attn_entry_0(ptr %0) {
entry:
  %group = load ptr addrspace(1), ptr %0, align 8
  %x = load ptr addrspace(1), ptr addrspace(1) %group, align 8
  %lane = call i32 @attn_lane_index()
  %wide = zext i32 %lane to i64
  %to = getelementptr i32, ptr addrspace(1) %x, i64 %wide
  %reversed = xor i64 %wide, 31
  %swapped = xor i64 %wide, 1
  %a = getelementptr i32, ptr addrspace(1) %x, i64 %reversed
  %b = getelementptr i32, ptr addrspace(1) %x, i64 %swapped
  %sum.0 = load i32, ptr addrspace(1) %b, align 4
  %at.1 = getelementptr i32, ptr addrspace(1) %a, i64 64
  %read.1 = load i32, ptr addrspace(1) %at.1, align 4
  %sum.1 = add i32 %sum.0, %read.1
  %at.2 = getelementptr i32, ptr addrspace(1) %a, i64 128
  %read.2 = load i32, ptr addrspace(1) %at.2, align 4
  %sum.2 = add i32 %sum.1, %read.2
  %at.3 = getelementptr i32, ptr addrspace(1) %a, i64 192
  %read.3 = load i32, ptr addrspace(1) %at.3, align 4
  %sum.3 = add i32 %sum.2, %read.3
  %at.4 = getelementptr i32, ptr addrspace(1) %a, i64 256
  %read.4 = load i32, ptr addrspace(1) %at.4, align 4
  %sum.4 = add i32 %sum.3, %read.4
  %at.5 = getelementptr i32, ptr addrspace(1) %a, i64 320
  %read.5 = load i32, ptr addrspace(1) %at.5, align 4
  %sum.5 = add i32 %sum.4, %read.5
  %at.6 = getelementptr i32, ptr addrspace(1) %a, i64 384
  %read.6 = load i32, ptr addrspace(1) %at.6, align 4
  %sum.6 = add i32 %sum.5, %read.6
  %at.7 = getelementptr i32, ptr addrspace(1) %a, i64 448
  %read.7 = load i32, ptr addrspace(1) %at.7, align 4
  %sum.7 = add i32 %sum.6, %read.7
  %at.8 = getelementptr i32, ptr addrspace(1) %a, i64 512
  %read.8 = load i32, ptr addrspace(1) %at.8, align 4
  %sum.8 = add i32 %sum.7, %read.8
  store i32 %sum.8, ptr addrspace(1) %to, align 4
  ret void
}
