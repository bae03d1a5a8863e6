; Where a function may reach itself, all but the entry point ask for room before they begin.
define void @attn_entry_0(ptr %lane) {
  %n = call i32 @even(i32 9)
  ret void
}
define i32 @even(i32 %n) {
  call void @attn_check_depth()
  %less = add i32 %n, -1
  %is = call i32 @odd(i32 %less)
  ret i32 %is
}
define i32 @odd(i32 %n) {
  call void @attn_check_depth()
  %more = call i32 @even(i32 %n)
  ret i32 %more
}
declare void @attn_check_depth() nounwind
