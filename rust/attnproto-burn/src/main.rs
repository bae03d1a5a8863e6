//! What Python asks of this crate: one attention from files, and what a call costs.
//!
//! attend ROAD HEADS NQ NKV D CAUSAL FOLDER: reads q, k and v, writes o, little-endian F32.
//! overhead N D ROUNDS: prints a line a road, its name and microseconds a call, tab-separated.

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs};

use attnproto_burn::{AttentionBackend, FlashOptions, MetalAttentionBackend, Problem, shared};
use burn_ndarray::NdArray;
use burn_tensor::backend::Backend;
use burn_tensor::ops::AttentionModuleOptions;
use burn_tensor::{Tensor, TensorData, TensorPrimitive, module};

type Wrapped = MetalAttentionBackend<NdArray>;
type Failure = Box<dyn std::error::Error>;

const CALLS_AT_ONCE: u32 = 10_000;

fn tensor<B: Backend>(data: Vec<f32>, shape: [usize; 4]) -> Tensor<B, 4> {
    Tensor::from_data(TensorData::new(data, shape), &B::Device::default())
}

fn by_trait<B: AttentionBackend>(
    tensors: [Tensor<B, 4>; 3],
    options: FlashOptions,
) -> Result<Tensor<B, 4>, attnproto_sys::Error> {
    let [q, k, v] = tensors.map(|tensor| tensor.into_primitive().tensor());
    let output = B::flash_attention(q, k, v, None, options)?;
    Ok(Tensor::from_primitive(TensorPrimitive::Float(output)))
}

fn by_module(tensors: [Tensor<Wrapped, 4>; 3], causal: bool) -> Tensor<Wrapped, 4> {
    let [q, k, v] = tensors;
    let options = AttentionModuleOptions {
        is_causal: causal,
        ..Default::default()
    };
    module::attention(q, k, v, None, None, options)
}

fn read(place: &Path) -> Result<Vec<f32>, Failure> {
    let bytes = fs::read(place)?;
    Ok(bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

fn attend(arguments: &[String]) -> Result<(), Failure> {
    let [road, heads, nq, nkv, d, causal, folder] = arguments else {
        return Err("[burn] found other arguments, needs ROAD HEADS NQ NKV D CAUSAL FOLDER".into());
    };
    let (heads, nq, nkv, d) = (heads.parse()?, nq.parse()?, nkv.parse()?, d.parse()?);
    let (causal, folder) = (causal == "1", Path::new(folder));
    let (q, k, v) = (
        read(&folder.join("q"))?,
        read(&folder.join("k"))?,
        read(&folder.join("v"))?,
    );
    let (queries, keys) = ([1, heads, nq, d], [1, heads, nkv, d]);
    let options = FlashOptions {
        causal,
        scale: None,
    };
    // An error here, rather than a silent fall back to the inner backend below.
    shared()?;
    let output = match road.as_str() {
        "ndarray" => {
            let tensors = [
                tensor::<NdArray>(q, queries),
                tensor(k, keys),
                tensor(v, keys),
            ];
            by_trait(tensors, options)?.into_data()
        }
        "wrapper" => {
            let tensors = [
                tensor::<Wrapped>(q, queries),
                tensor(k, keys),
                tensor(v, keys),
            ];
            by_trait(tensors, options)?.into_data()
        }
        "module" => {
            let tensors = [tensor(q, queries), tensor(k, keys), tensor(v, keys)];
            by_module(tensors, causal).into_data()
        }
        other => {
            return Err(format!("[burn] found {other}, needs ndarray, wrapper or module").into());
        }
    };
    let floats = output
        .to_vec::<f32>()
        .map_err(|error| format!("[burn] found {error:?}"))?;
    let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
    Ok(fs::write(folder.join("o"), bytes)?)
}

fn timed_us<T>(work: impl FnOnce() -> T) -> f64 {
    let begin = Instant::now();
    black_box(work());
    begin.elapsed().as_secs_f64() * 1e6
}

/// The roads take turns, so that a machine that slows down slows all of them.
fn overhead(arguments: &[String]) -> Result<(), Failure> {
    let [n, d, rounds] = arguments else {
        return Err("[burn] found other arguments, needs N D ROUNDS".into());
    };
    let (n, d, rounds): (usize, usize, usize) = (n.parse()?, d.parse()?, rounds.parse()?);
    let flash = shared()?;
    let (shape, options) = ([1, 1, n, d], FlashOptions::default());
    let problem = Problem::new(&shape, &shape, &shape, options)?;
    let data: Vec<f32> = (0..n * d).map(|i| (i as f32 * 0.37).sin()).collect();
    let fresh = || [(); 3].map(|()| data.clone());
    let names = [
        "nothing",
        "direct",
        "trait_moved",
        "trait_copied",
        "tensor_api",
        "tensor_api_copied",
    ];
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    // Host time alone.
    let host_us = |road_us: f64| road_us - flash.last_device_us();
    for round in 0..rounds + 4 {
        let nothing = timed_us(|| {
            for _ in 0..CALLS_AT_ONCE {
                black_box(flash.library().version());
            }
        }) / f64::from(CALLS_AT_ONCE);
        let mut output = vec![0.0; n * d];
        let [q, k, v] = fresh();
        let direct = host_us(timed_us(|| {
            flash.attention(&problem, &q, &k, &v, &mut output)
        }));
        let owned = fresh().map(|data| tensor::<NdArray>(data, shape));
        let kept = fresh().map(|data| tensor::<NdArray>(data, shape));
        let lent = kept.clone();
        let moved = host_us(timed_us(|| by_trait(owned, options)));
        let copied = host_us(timed_us(|| by_trait(lent, options)));
        let owned = fresh().map(|data| tensor::<Wrapped>(data, shape));
        let kept = fresh().map(|data| tensor::<Wrapped>(data, shape));
        let lent = kept.clone();
        let api = host_us(timed_us(|| by_module(owned, false)));
        let api_copied = host_us(timed_us(|| by_module(lent, false)));
        // The first rounds warm up.
        if round >= 4 {
            let values = [nothing, direct, moved, copied, api, api_copied];
            for (to, value) in samples.iter_mut().zip(values) {
                to.push(value);
            }
        }
    }
    for (name, values) in names.iter().zip(&samples) {
        let listed: Vec<String> = values.iter().map(|us| format!("{us:.4}")).collect();
        println!("{name}\t{}", listed.join("\t"));
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((command, rest)) if command == "attend" => attend(rest),
        Some((command, rest)) if command == "overhead" => overhead(rest),
        _ => Err("[burn] found no command, needs attend or overhead".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
