//! What the generator writes, without a device.

use attnproto_cubecl::{Generated, Launch, Sizes, generate};

const SIZES: Sizes = Sizes {
    heads: 2,
    n: 128,
    d: 64,
};

fn text(kernel: &Generated) -> Result<(&Launch, &str), &str> {
    let launch = kernel.launch.as_ref().map_err(String::as_str)?;
    launch
        .source
        .as_deref()
        .map(|text| (launch, text))
        .map_err(String::as_str)
}

#[test]
fn matrix_instructions_come_from_cmma_alone_and_naga_has_none() {
    for kernel in generate(SIZES) {
        let Ok((launch, text)) = text(&kernel) else {
            continue;
        };
        assert!(text.contains(&format!("void {}(", launch.entry)));
        assert_eq!(
            text.contains("simdgroup_multiply_accumulate("),
            kernel.way == "msl" && kernel.kind != "scalar",
            "{} {}",
            kernel.kind,
            kernel.way
        );
        // Apple's compiler is known to miscompile such kernels under this attribute with 32.
        assert!(!text.contains("max_total_threads_per_threadgroup(32)"));
        assert!(!text.contains("#error"));
    }
}

#[test]
fn what_a_version_cannot_generate_is_said_and_nothing_else_is_lost() {
    let refused: Vec<(String, String)> = generate(SIZES)
        .iter()
        .filter_map(|kernel| {
            let name = format!("{} {} {}", kernel.kind, kernel.way, kernel.element);
            text(kernel).err().map(|why| (name, why.to_string()))
        })
        .collect();
    let names: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "flash msl float32",
            "cmma wgsl float32",
            "cmma wgsl float16"
        ]
    );
    assert!(
        refused[0].1.contains("must be the same"),
        "{}",
        refused[0].1
    );
    assert!(
        refused[1].1.contains("Cooperative matrix"),
        "{}",
        refused[1].1
    );
}

#[test]
fn a_launch_says_how_it_is_to_be_run() {
    for kernel in generate(SIZES) {
        let Ok((launch, _)) = text(&kernel) else {
            continue;
        };
        let bytes = if kernel.element == "float16" { 2 } else { 4 };
        let (one, all) = (128 * 64 * bytes, 2 * 128 * 64 * bytes);
        let expected = match kernel.kind {
            "flash" => vec![all; 4],
            _ => vec![one, one, 128 * 128 * 4],
        };
        assert_eq!(launch.buffer_bytes, expected, "{}", kernel.kind);
        assert!(
            launch
                .threadgroups
                .iter()
                .chain(&launch.threads)
                .all(|&n| n > 0)
        );
        assert_eq!(launch.threadgroup_bytes.is_empty(), kernel.kind != "unit");
        assert!(launch.threadgroup_bytes.iter().sum::<u32>() <= 32768);
    }
}
