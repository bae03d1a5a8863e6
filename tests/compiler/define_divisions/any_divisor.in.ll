; A divisor that may be zero is replaced where it is; one that is a plain number stays.
define i32 @f(i32 %a, i32 %b) {
  %quotient = sdiv i32 %a, %b
  %rest = urem i32 %quotient, 7
  ret i32 %rest
}

define <2 x i16> @g(<2 x i16> %a, <2 x i16> %b) {
  %rest = urem <2 x i16> %a, %b
  ret <2 x i16> %rest
}
