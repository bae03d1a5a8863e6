// attn_switch(save, load): store the running context's stack pointer in *save
// and continue the one whose stack pointer is `load`. Only the registers that
// a call preserves are kept; the compiler has already saved the others.

// attn_continue: its second half, entered with the stack pointer already at `load`.

#if defined(__APPLE__)
#define SYMBOL(name) _##name
#define HIDDEN(name) .private_extern _##name
#else
#define SYMBOL(name) name
#define HIDDEN(name) .hidden name
#endif

.text
.globl SYMBOL(attn_switch)
HIDDEN(attn_switch)
.p2align 4
SYMBOL(attn_switch):
#if defined(__x86_64__)
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
.globl SYMBOL(attn_continue)
HIDDEN(attn_continue)
SYMBOL(attn_continue):
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  retq
#elif defined(__aarch64__)
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
.globl SYMBOL(attn_continue)
HIDDEN(attn_continue)
SYMBOL(attn_continue):
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
#else
#error "the cpu device knows x86-64 and arm64"
#endif

#if defined(__linux__)
.section .note.GNU-stack, "", %progbits
#endif
