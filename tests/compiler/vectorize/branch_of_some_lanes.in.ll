; Lanes below 7 store: the block stands under their mask and is passed over where it is empty.
declare i32 @attn_lane_index()

define void @attn_entry_0(ptr %0) {
entry:
  %group = load ptr addrspace(1), ptr %0, align 8
  %x = load ptr addrspace(1), ptr addrspace(1) %group, align 8
  %lane = call i32 @attn_lane_index()
  %some = icmp ult i32 %lane, 7
  br i1 %some, label %then, label %end

then:
  %wide = zext i32 %lane to i64
  %at = getelementptr i32, ptr addrspace(1) %x, i64 %wide
  store i32 %lane, ptr addrspace(1) %at, align 4
  br label %end

end:
  ret void
}
