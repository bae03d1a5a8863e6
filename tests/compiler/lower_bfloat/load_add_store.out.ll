; Numbers are read, added with a constant in float, rounded once and stored.
define void @f(ptr addrspace(1) %p, float %x) {
entry:
  %a = load i16, ptr addrspace(1) %p, align 2
  %attn.bfloat.1.bits = bitcast float %x to i32
  %attn.bfloat.1.high = lshr i32 %attn.bfloat.1.bits, 16
  %attn.bfloat.1.odd = and i32 %attn.bfloat.1.high, 1
  %attn.bfloat.1.bias = add i32 %attn.bfloat.1.odd, 32767
  %attn.bfloat.1.near = add i32 %attn.bfloat.1.bits, %attn.bfloat.1.bias
  %attn.bfloat.1.none = fcmp uno float %x, zeroinitializer
  %attn.bfloat.1.quiet = or i32 %attn.bfloat.1.bits, 4194304
  %attn.bfloat.1.chosen = select i1 %attn.bfloat.1.none, i32 %attn.bfloat.1.quiet, i32 %attn.bfloat.1.near
  %attn.bfloat.1.shifted = lshr i32 %attn.bfloat.1.chosen, 16
  %b = trunc i32 %attn.bfloat.1.shifted to i16
  %attn.bfloat.4.wide = zext i16 %a to i32
  %attn.bfloat.4.bits = shl i32 %attn.bfloat.4.wide, 16
  %attn.bfloat.2 = bitcast i32 %attn.bfloat.4.bits to float
  %attn.bfloat.5.wide = zext i16 %b to i32
  %attn.bfloat.5.bits = shl i32 %attn.bfloat.5.wide, 16
  %attn.bfloat.3 = bitcast i32 %attn.bfloat.5.bits to float
  %attn.bfloat.6 = fadd float %attn.bfloat.2, %attn.bfloat.3
  %attn.bfloat.7.bits = bitcast float %attn.bfloat.6 to i32
  %attn.bfloat.7.high = lshr i32 %attn.bfloat.7.bits, 16
  %attn.bfloat.7.odd = and i32 %attn.bfloat.7.high, 1
  %attn.bfloat.7.bias = add i32 %attn.bfloat.7.odd, 32767
  %attn.bfloat.7.near = add i32 %attn.bfloat.7.bits, %attn.bfloat.7.bias
  %attn.bfloat.7.none = fcmp uno float %attn.bfloat.6, zeroinitializer
  %attn.bfloat.7.quiet = or i32 %attn.bfloat.7.bits, 4194304
  %attn.bfloat.7.chosen = select i1 %attn.bfloat.7.none, i32 %attn.bfloat.7.quiet, i32 %attn.bfloat.7.near
  %attn.bfloat.7.shifted = lshr i32 %attn.bfloat.7.chosen, 16
  %sum = trunc i32 %attn.bfloat.7.shifted to i16
  %attn.bfloat.10.wide = zext i16 %sum to i32
  %attn.bfloat.10.bits = shl i32 %attn.bfloat.10.wide, 16
  %attn.bfloat.8 = bitcast i32 %attn.bfloat.10.bits to float
  %attn.bfloat.11.wide = zext i16 16256 to i32
  %attn.bfloat.11.bits = shl i32 %attn.bfloat.11.wide, 16
  %attn.bfloat.9 = bitcast i32 %attn.bfloat.11.bits to float
  %attn.bfloat.12 = fadd float %attn.bfloat.8, %attn.bfloat.9
  %attn.bfloat.13.bits = bitcast float %attn.bfloat.12 to i32
  %attn.bfloat.13.high = lshr i32 %attn.bfloat.13.bits, 16
  %attn.bfloat.13.odd = and i32 %attn.bfloat.13.high, 1
  %attn.bfloat.13.bias = add i32 %attn.bfloat.13.odd, 32767
  %attn.bfloat.13.near = add i32 %attn.bfloat.13.bits, %attn.bfloat.13.bias
  %attn.bfloat.13.none = fcmp uno float %attn.bfloat.12, zeroinitializer
  %attn.bfloat.13.quiet = or i32 %attn.bfloat.13.bits, 4194304
  %attn.bfloat.13.chosen = select i1 %attn.bfloat.13.none, i32 %attn.bfloat.13.quiet, i32 %attn.bfloat.13.near
  %attn.bfloat.13.shifted = lshr i32 %attn.bfloat.13.chosen, 16
  %more = trunc i32 %attn.bfloat.13.shifted to i16
  store i16 %more, ptr addrspace(1) %p, align 2
  ret void
}

