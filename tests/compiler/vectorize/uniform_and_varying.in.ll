; The buffer's address and the number of turns stay one value each; what a lane adds is a vector.
declare i32 @attn_lane_index()

define void @attn_entry_0(ptr %0) {
entry:
  %group = load ptr addrspace(1), ptr %0, align 8
  %x = load ptr addrspace(1), ptr addrspace(1) %group, align 8
  %turns = load i32, ptr addrspace(1) %x, align 4
  %lane = call i32 @attn_lane_index()
  %sum = add i32 %lane, %turns
  %product = mul i32 %turns, %turns
  %both = xor i32 %sum, %product
  %wide = zext i32 %lane to i64
  %at = getelementptr i32, ptr addrspace(1) %x, i64 %wide
  store i32 %both, ptr addrspace(1) %at, align 4
  ret void
}
