; A divisor that may be zero is replaced where it is; one that is a plain number stays.
define i32 @f(i32 %a, i32 %b) {
  %attn.d.1.a = freeze i32 %a
  %attn.d.1.b = freeze i32 %b
  %attn.d.1.zero = icmp eq i32 %attn.d.1.b, 0
  %attn.d.1.least = icmp eq i32 %attn.d.1.a, -2147483648
  %attn.d.1.minus = icmp eq i32 %attn.d.1.b, -1
  %attn.d.1.over = and i1 %attn.d.1.least, %attn.d.1.minus
  %attn.d.1.bad = or i1 %attn.d.1.zero, %attn.d.1.over
  %attn.d.1.by = select i1 %attn.d.1.bad, i32 1, i32 %attn.d.1.b
  %attn.d.1.found = sdiv i32 %attn.d.1.a, %attn.d.1.by
  %quotient = select i1 %attn.d.1.zero, i32 0, i32 %attn.d.1.found
  %rest = urem i32 %quotient, 7
  ret i32 %rest
}

define <2 x i16> @g(<2 x i16> %a, <2 x i16> %b) {
  %attn.d.2.a = freeze <2 x i16> %a
  %attn.d.2.b = freeze <2 x i16> %b
  %attn.d.2.zero = icmp eq <2 x i16> %attn.d.2.b, splat (i16 0)
  %attn.d.2.by = select <2 x i1> %attn.d.2.zero, <2 x i16> splat (i16 1), <2 x i16> %attn.d.2.b
  %attn.d.2.found = urem <2 x i16> %attn.d.2.a, %attn.d.2.by
  %rest = select <2 x i1> %attn.d.2.zero, <2 x i16> %attn.d.2.a, <2 x i16> %attn.d.2.found
  ret <2 x i16> %rest
}
