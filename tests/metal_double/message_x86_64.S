/* objc_msgSend for Linux x86-64 SysV: keep every argument register, look the method up, tail-jump. */
        .macro MSGSEND name, selfreg, selreg
        .globl \name
        .type \name,@function
\name:  .cfi_startproc
        testq %\selfreg, %\selfreg
        jz 1f
        pushq %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset rbp,-16
        movq %rsp,%rbp
        .cfi_def_cfa_register rbp
        subq $192,%rsp
        movdqu %xmm0,0(%rsp);  movdqu %xmm1,16(%rsp); movdqu %xmm2,32(%rsp); movdqu %xmm3,48(%rsp)
        movdqu %xmm4,64(%rsp); movdqu %xmm5,80(%rsp); movdqu %xmm6,96(%rsp); movdqu %xmm7,112(%rsp)
        movq %rdi,128(%rsp); movq %rsi,136(%rsp); movq %rdx,144(%rsp); movq %rcx,152(%rsp)
        movq %r8,160(%rsp);  movq %r9,168(%rsp);  movq %rax,176(%rsp)
        movq %\selfreg,%r10
        movq %\selreg,%rsi
        movq %r10,%rdi
        call metal_double_lookup@PLT
        movq %rax,%r11
        movdqu 0(%rsp),%xmm0;  movdqu 16(%rsp),%xmm1; movdqu 32(%rsp),%xmm2; movdqu 48(%rsp),%xmm3
        movdqu 64(%rsp),%xmm4; movdqu 80(%rsp),%xmm5; movdqu 96(%rsp),%xmm6; movdqu 112(%rsp),%xmm7
        movq 128(%rsp),%rdi; movq 136(%rsp),%rsi; movq 144(%rsp),%rdx; movq 152(%rsp),%rcx
        movq 160(%rsp),%r8;  movq 168(%rsp),%r9;  movq 176(%rsp),%rax
        leave
        .cfi_def_cfa rsp,8
        jmp *%r11
1:      /* nil receiver: note it, answer zero */
        subq $8,%rsp
        movq %\selreg,%rdi
        call metal_double_nil@PLT
        addq $8,%rsp
        xorl %eax,%eax
        xorl %edx,%edx
        pxor %xmm0,%xmm0
        pxor %xmm1,%xmm1
        ret
        .cfi_endproc
        .size \name,.-\name
        .endm
        .text
        MSGSEND objc_msgSend, rdi, rsi
        MSGSEND objc_msgSend_fpret, rdi, rsi
        MSGSEND objc_msgSend_stret, rsi, rdx
        .section .note.GNU-stack,"",@progbits
