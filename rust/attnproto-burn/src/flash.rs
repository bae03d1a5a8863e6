//! Prototype 1's kernel behind the C ABI, as `attnproto.kernels.flash` launches it.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use attnproto_sys::{Binding, Device, Error, Kernel, Library};

use crate::FlashOptions;

/// One attention, checked.
#[derive(Clone, Debug)]
pub struct Problem {
    b: usize,
    hq: usize,
    hkv: usize,
    nq: usize,
    nkv: usize,
    d: usize,
    scale: f64,
    causal: bool,
}

impl Problem {
    /// Check the shapes of query, key and value.
    pub fn new(
        q: &[usize],
        k: &[usize],
        v: &[usize],
        options: FlashOptions,
    ) -> Result<Self, Error> {
        let refuse = |needs: &str| {
            Err(Error(format!(
                "[burn.flash] found q {q:?}, k {k:?}, v {v:?}, needs {needs}"
            )))
        };
        let (&[b, hq, nq, d], &[kb, hkv, nkv, kd]) = (q, k) else {
            return refuse("rank 4; pass [batch, heads, tokens, D]");
        };
        if k != v {
            return refuse("k and v of one shape; reshape one");
        }
        if (kb, kd) != (b, d) {
            return refuse("one batch size and one D");
        }
        if q.contains(&0) || k.contains(&0) {
            return refuse("no empty dimension; pass at least one token");
        }
        if hq % hkv != 0 {
            return refuse("query heads a multiple of KV heads");
        }
        if q.iter().chain(k).any(|&n| n > 1 << 24) {
            return refuse("dimensions of at most 2^24");
        }
        let scale = options.scale.unwrap_or_else(|| (d as f64).powf(-0.5));
        if !(1e-20..=1e20).contains(&scale) {
            return refuse("a scale from 1e-20 to 1e20; pass None for D^-0.5");
        }
        let causal = options.causal;
        Ok(Self {
            b,
            hq,
            hkv,
            nq,
            nkv,
            d,
            scale,
            causal,
        })
    }

    /// Check an explicit mask, which the backend's own attention reads.
    pub fn check_mask(&self, mask: &[usize]) -> Result<(), Error> {
        let refuse = |needs: &str| {
            Err(Error(format!(
                "[burn.flash] found a mask {mask:?} for {self:?}, needs {needs}"
            )))
        };
        if mask != [self.b, self.hq, self.nq, self.nkv] {
            return refuse("[B, Hq, Nq, Nkv]");
        }
        if self.hq != self.hkv {
            return refuse("as many KV heads as query heads; repeat them");
        }
        // Burn counts causal positions from the first key, the kernel from the last.
        if self.causal && self.nq != self.nkv {
            return refuse("Nq = Nkv where it is causal too; put the causal part into the mask");
        }
        Ok(())
    }

    // metal/flash/params.h
    fn params(&self) -> Vec<u8> {
        let integers = [self.hq, self.hq / self.hkv, self.nq, self.nkv].map(|n| n as i32);
        let scale_log2e = (self.scale * std::f64::consts::LOG2_E) as f32;
        let floats = [scale_log2e, (1.0 / self.scale) as f32, 0.0];
        let mut bytes: Vec<u8> = integers.iter().flat_map(|n| n.to_ne_bytes()).collect();
        bytes.extend(floats.iter().flat_map(|x| x.to_ne_bytes()));
        bytes.extend([0i32; 2].iter().flat_map(|n| n.to_ne_bytes()));
        bytes
    }
}

struct Variant {
    kernel: Kernel,
    br: usize,
    threads: u32,
}

/// The exported variants of the flash kernel, by head dimension and causality.
pub struct Flash {
    library: Arc<Library>,
    variants: HashMap<(usize, bool), Variant>,
    last_device_us: AtomicU64,
}

impl Flash {
    /// Open a library and the folder that `attnproto.kernels.exported` wrote.
    pub fn open(library: &Path, folder: &Path) -> Result<Self, Error> {
        let library = Library::open(library)?;
        let place = folder.join("flash.tsv");
        let index = fs::read_to_string(&place).map_err(|error| {
            Error(format!(
                "[burn.flash] found {}: {error}, needs exported kernels; export them",
                place.display()
            ))
        })?;
        let mut lines = index.lines();
        let device = Device::open(&library, lines.next().unwrap_or_default(), 0)?;
        let mut variants = HashMap::new();
        for line in lines {
            let found = parse(line).ok_or_else(|| {
                Error(format!(
                    "[burn.flash] found line {line:?}, needs D, causal, Br, threads, file, \
                     function, constants"
                ))
            })?;
            let variant = Variant {
                kernel: open_kernel(&device, folder, &found)?,
                br: found.br,
                threads: found.threads,
            };
            variants.insert(found.key, variant);
        }
        Ok(Self {
            library,
            variants,
            last_device_us: AtomicU64::new(0),
        })
    }

    /// The library, for calls without a kernel.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Whether a variant for this problem was exported.
    pub fn covers(&self, problem: &Problem) -> bool {
        self.variants.contains_key(&(problem.d, problem.causal))
    }

    /// What the last dispatch, of any thread, took on the device.
    pub fn last_device_us(&self) -> f64 {
        f64::from_bits(self.last_device_us.load(Ordering::Relaxed))
    }

    /// Compute attention from host memory into host memory; returns microseconds on the device.
    pub fn attention(
        &self,
        problem: &Problem,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        output: &mut [f32],
    ) -> Result<f64, Error> {
        let p = problem;
        let (queries, keys) = (p.b * p.hq * p.nq * p.d, p.b * p.hkv * p.nkv * p.d);
        let found = [q.len(), k.len(), v.len(), output.len()];
        if found != [queries, keys, keys, queries] {
            return Err(Error(format!(
                "[burn.flash] found {found:?} elements, needs {queries}, {keys}, {keys}, {queries}"
            )));
        }
        let Some(variant) = self.variants.get(&(p.d, p.causal)) else {
            let (d, causal) = (p.d, p.causal);
            return Err(Error(format!(
                "[burn.flash] found D={d}, causal={causal}, needs an exported variant; export it"
            )));
        };
        let (q, k, v) = (aligned(q), aligned(k), aligned(v));
        let grid = [p.nq.div_ceil(variant.br) as u32, p.hq as u32, p.b as u32];
        let params = p.params();
        let mut bindings = [
            Binding::Read(0, &q),
            Binding::Read(1, &k),
            Binding::Read(2, &v),
            Binding::Write(3, output),
            Binding::Bytes(4, &params),
        ];
        // SAFETY: the lengths are those that the kernel reads and writes for these parameters.
        let device_us = unsafe {
            variant
                .kernel
                .run(grid, [variant.threads, 1, 1], &mut bindings)
        }?;
        self.last_device_us
            .store(device_us.to_bits(), Ordering::Relaxed);
        Ok(device_us)
    }
}

/// The kernel loads vectors of 16 bytes; what the allocator gives is nearly always aligned.
fn aligned(data: &[f32]) -> std::borrow::Cow<'_, [f32]> {
    if data.as_ptr().addr().is_multiple_of(16) {
        data.into()
    } else {
        data.to_vec().into()
    }
}

/// A line of the folder's index.
struct Exported<'a> {
    key: (usize, bool),
    br: usize,
    threads: u32,
    file: &'a str,
    function: &'a str,
    constants: Vec<(&'a str, bool)>,
}

fn parse(line: &str) -> Option<Exported<'_>> {
    let fields: Vec<&str> = line.split('\t').collect();
    let &[d, causal, br, threads, file, function, constants] = fields.as_slice() else {
        return None;
    };
    let constants = constants
        .split(',')
        .map(|pair| {
            pair.split_once('=')
                .map(|(name, value)| (name, value == "1"))
        })
        .collect::<Option<Vec<_>>>()?;
    Some(Exported {
        key: (d.parse().ok()?, causal == "1"),
        br: br.parse().ok()?,
        threads: threads.parse().ok()?,
        file,
        function,
        constants,
    })
}

/// A file exported for the device, or a text for one with a compiler.
fn open_kernel(device: &Arc<Device>, folder: &Path, found: &Exported) -> Result<Kernel, Error> {
    let place = folder.join(found.file);
    if place.extension().is_none_or(|kind| kind != "metal") {
        return device.load(&place);
    }
    let text = fs::read_to_string(&place).map_err(|error| {
        Error(format!(
            "[burn.flash] found {}: {error}, needs a kernel's text; export them again",
            place.display()
        ))
    })?;
    device.compile(&text, found.function, &found.constants)
}

/// The kernels that ATTNPROTO_LIBRARY and ATTNPROTO_KERNELS name, opened once.
pub fn shared() -> Result<&'static Flash, Error> {
    static SHARED: OnceLock<Result<Flash, Error>> = OnceLock::new();
    let opened = SHARED.get_or_init(|| {
        let place = |name: &str| {
            env::var_os(name).ok_or_else(|| {
                Error(format!(
                    "[burn.flash] found no {name}, needs a path; set it"
                ))
            })
        };
        let (library, folder) = (place("ATTNPROTO_LIBRARY")?, place("ATTNPROTO_KERNELS")?);
        Flash::open(library.as_ref(), folder.as_ref())
    });
    opened.as_ref().map_err(Clone::clone)
}
