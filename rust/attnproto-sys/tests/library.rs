//! The C ABI from Rust: every unsafe line of this crate, with libattnproto and its exported flash
//! kernel. Needs ATTNPROTO_LIBRARY and ATTNPROTO_KERNELS; `make rust-sanitize` runs it under the
//! address sanitizer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use attnproto_sys::{Binding, Device, Kernel, Library, VERSION};

fn place(name: &str) -> PathBuf {
    std::env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is not set; run make rust-test"))
        .into()
}

fn library() -> Arc<Library> {
    Library::open(&place("ATTNPROTO_LIBRARY")).expect("libattnproto")
}

fn device() -> Arc<Device> {
    Device::open(&library(), "cpu", 2).expect("the cpu device")
}

/// The first exported variant: its kernel, Br and threads.
fn exported(device: &Arc<Device>) -> (Kernel, usize, u32) {
    let folder = place("ATTNPROTO_KERNELS");
    let index = std::fs::read_to_string(folder.join("flash.tsv")).expect("the index");
    let line: Vec<&str> = index
        .lines()
        .nth(1)
        .expect("a variant")
        .split('\t')
        .collect();
    let kernel = device.load(&folder.join(line[4])).expect("the kernel");
    (
        kernel,
        line[2].parse().expect("Br"),
        line[3].parse().expect("threads"),
    )
}

/// FlashParams of one head of `n` queries and keys of 64 dimensions.
fn params(n: i32) -> Vec<u8> {
    let scale = 0.125f32;
    let mut bytes: Vec<u8> = [1, 1, n, n]
        .iter()
        .flat_map(|x: &i32| x.to_ne_bytes())
        .collect();
    let floats = [scale * std::f32::consts::LOG2_E, 1.0 / scale, 0.0];
    bytes.extend(floats.iter().flat_map(|x| x.to_ne_bytes()));
    bytes.extend([0; 8]);
    bytes
}

fn attend(kernel: &Kernel, br: usize, threads: u32, n: usize) -> Result<Vec<f32>, String> {
    // All values of a key position are equal, so is their mean.
    let (q, k) = (vec![1.0f32; n * 64], vec![1.0f32; n * 64]);
    let v: Vec<f32> = (0..n * 64).map(|i| (i % 64) as f32).collect();
    let mut output = vec![f32::NAN; n * 64];
    let bytes = params(n as i32);
    let mut bindings = [
        Binding::Read(0, &q),
        Binding::Read(1, &k),
        Binding::Read(2, &v),
        Binding::Write(3, &mut output),
        Binding::Bytes(4, &bytes),
    ];
    let grid = [n.div_ceil(br) as u32, 1, 1];
    // SAFETY: the lengths are those that the kernel reads and writes for these parameters.
    let ran = unsafe { kernel.run(grid, [threads, 1, 1], &mut bindings) };
    ran.map(|us| assert!(us >= 0.0))
        .map_err(|error| error.to_string())?;
    Ok(output)
}

#[test]
fn a_kernel_outlives_every_name_it_was_reached_by() {
    let (kernel, br, threads) = exported(&device());
    // Device and library are dropped here but for what the kernel holds.
    let output = attend(&kernel, br, threads, 17).expect("attention");
    for (i, value) in output.iter().enumerate() {
        assert!((value - (i % 64) as f32).abs() < 1e-4, "{i}: {value}");
    }
}

#[test]
fn several_threads_share_a_kernel() {
    let device = device();
    let (kernel, br, threads) = exported(&device);
    thread::scope(|scope| {
        for n in [1, 8, 33, 64] {
            let kernel = &kernel;
            scope.spawn(move || {
                for _ in 0..4 {
                    let output = attend(kernel, br, threads, n).expect("attention");
                    assert!(output.iter().all(|x| x.is_finite()));
                }
            });
        }
    });
    assert_eq!(device.tier(), "emulated");
}

#[test]
fn what_is_wrong_is_an_error_that_says_so() {
    let nowhere = Path::new("/nowhere/libattnproto.so");
    let error = Library::open(nowhere).err().expect("an error").to_string();
    assert!(error.contains("found no library at /nowhere"), "{error}");
    // A library, and not ours.
    let other = Library::open(Path::new("libc.so.6"))
        .err()
        .expect("an error");
    assert!(other.to_string().contains("attnproto_version"), "{other}");

    let library = library();
    assert_eq!(library.version(), VERSION);
    let refused = |kind| {
        Device::open(&library, kind, 0)
            .err()
            .expect("an error")
            .to_string()
    };
    assert!(refused("abacus").contains("needs 'metal', 'cuda' or 'cpu'"));
    assert!(refused("c\0pu").contains("without one"));

    let device = device();
    let error = device
        .load(Path::new("/nowhere.so"))
        .err()
        .expect("an error")
        .to_string();
    assert!(error.contains("/nowhere.so"), "{error}");
    let constants = [("causal", true), ("alibi", false)];
    let error = device
        .compile("kernel void k() {}", "k", &constants)
        .err()
        .expect("an error");
    assert!(error.to_string().contains("k with 2 constants"), "{error}");

    let (kernel, _, threads) = exported(&device);
    // SAFETY: nothing runs: buffers are missing.
    let ran = unsafe { kernel.run([1, 1, 1], [threads, 1, 1], &mut []) };
    assert!(ran.is_err());
    // SAFETY: nothing runs: there are no threads.
    assert!(unsafe { kernel.run([1, 1, 1], [0, 1, 1], &mut []) }.is_err());
}
