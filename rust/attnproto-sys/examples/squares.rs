//! A kernel from Rust: `squares LIBRARY KERNEL`, both paths given by examples/16_from_rust.py.

use std::path::Path;

use attnproto_sys::{Binding, Device, Error, Library};

fn main() -> Result<(), Error> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let library = Library::open(Path::new(&paths[0]))?;
    let device = Device::open(&library, "cpu", 0)?;
    let kernel = device.load(Path::new(&paths[1]))?;
    let x: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let mut y = vec![f32::NAN; x.len()];
    let n = (x.len() as u32).to_ne_bytes();
    let mut bindings = [
        Binding::Read(0, &x),
        Binding::Write(1, &mut y),
        Binding::Bytes(2, &n),
    ];
    // SAFETY: the kernel reads and writes n elements, the lengths of x and y.
    let gpu_us = unsafe { kernel.run([4, 1, 1], [32, 1, 1], &mut bindings) }?;
    assert!(x.iter().zip(&y).all(|(x, y)| *y == x * x));
    println!("{}: y[99] = {} after {gpu_us:.0} us", device.tier(), y[99]);
    Ok(())
}
