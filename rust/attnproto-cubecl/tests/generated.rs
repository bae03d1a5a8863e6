//! What the generator writes, without a device.

use attnproto_cubecl::generate;

#[test]
fn cmma_becomes_matrix_instructions_and_a_loop_does_not() {
    for kernel in generate() {
        let text = kernel.source.expect("a text");
        assert!(
            text.contains(&format!("void {}(", kernel.name)),
            "{}",
            kernel.name
        );
        assert_eq!(
            text.contains("simdgroup_multiply_accumulate("),
            kernel.name.starts_with("cmma"),
            "{}",
            kernel.name
        );
        // Apple's compiler is known to miscompile such kernels under this attribute with 32.
        assert!(!text.contains("max_total_threads_per_threadgroup(32)"));
        assert!(!text.contains("#error"));
    }
}
