//! Metal source from CubeCL, written without a Mac: S = Q K^T in the ways that CubeCL and its
//! kernel library cubek offer, cubek's flash attention, and the older way over WGSL and naga.

mod kernels;
mod offline;
mod targets;

use cubecl::ir::StorageType;
use cubecl::prelude::*;
use cubecl_cpp::MslCompiler;
use cubecl_wgpu::WgslCompiler;
use cubek_attention::definition::{AttentionGlobalTypes, AttentionOptions};
use cubek_attention::routines::blackbox_accelerated::BlackboxAcceleratedStrategy;
use cubek_matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek_std::InputBinding;
use half::f16;

pub use offline::Launch;
use offline::{Offline, Target, record};

/// The crates that decide what a text of CubeCL's own MSL looks like, and one that naga wrote.
pub const MSL_VERSIONS: &str = "cubecl 0.10.0, cubecl-cpp 0.10.0";
pub const CUBEK_VERSIONS: &str = "cubek 0.2.0, cubecl-cpp 0.10.0";
pub const WGSL_VERSIONS: &str = "cubecl 0.10.0, cubecl-wgpu 0.10.0, naga 29.0.4";

/// One kernel of the comparison.
pub struct Generated {
    /// scalar and cmma are kernels.rs; cubek, unit and flash are cubek's; the way is msl or wgsl.
    pub kind: &'static str,
    pub way: &'static str,
    pub element: &'static str,
    pub versions: &'static str,
    /// The one launch, or why there is none.
    pub launch: Result<Launch, String>,
}

/// Sizes of one attention; Q K^T is of its first head.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub heads: usize,
    pub n: usize,
    pub d: usize,
}

fn tensor<T: Target>(
    client: &ComputeClient<Offline<T>>,
    shape: &[usize],
    bytes: usize,
) -> TensorBinding<Offline<T>> {
    let elements: usize = shape.iter().product();
    let mut strides = vec![1; shape.len()];
    for i in (0..shape.len() - 1).rev() {
        strides[i] = strides[i + 1] * shape[i + 1];
    }
    // SAFETY: the strides are those of a contiguous tensor of this size.
    unsafe {
        TensorBinding::from_raw_parts(
            client.empty(elements * bytes),
            strides.as_slice().into(),
            shape.into(),
        )
    }
}

fn one(launches: Result<Vec<Launch>, String>) -> Result<Launch, String> {
    let mut launches = launches?;
    match (launches.pop(), launches.len()) {
        (Some(launch), 0) => Ok(launch),
        (_, more) => Err(format!("{} launches, needs one", more + 1)),
    }
}

/// The kernels written for this comparison.
fn product<T: Target, F: Float + CubeElement>(
    sizes: Sizes,
    by_matrices: bool,
) -> Result<Launch, String> {
    let Sizes { n, d, .. } = sizes;
    one(record::<T, String>(|client| {
        let array = |rows: usize, columns: usize, bytes: usize| {
            tensor(client, &[rows, columns], bytes).into_array_arg()
        };
        let (q, k) = (array(n, d, size_of::<F>()), array(n, d, size_of::<F>()));
        let scores = array(n, n, 4);
        let tiles = (n / 8) as u32;
        let grid = CubeCount::Static(tiles, tiles, 1);
        // SAFETY: never run.
        unsafe {
            if by_matrices {
                let threads = CubeDim::new_2d(32, 1);
                kernels::matrix_scores::launch_unchecked::<F, Offline<T>>(
                    client, grid, threads, q, k, scores, n, d,
                );
            } else {
                let threads = CubeDim::new_2d(8, 8);
                kernels::scalar_scores::launch_unchecked::<F, Offline<T>>(
                    client, grid, threads, q, k, scores, n, d,
                );
            }
        }
        Ok(())
    }))
}

/// cubek's matrix product, Q [n, d] by a transposed view of K.
fn cubek_product<T: Target>(
    sizes: Sizes,
    element: StorageType,
    strategy: &cubek_matmul::launch::Strategy,
) -> Result<Launch, String> {
    let Sizes { n, d, .. } = sizes;
    one(record::<T, _>(|client| {
        let q = InputBinding::new(tensor(client, &[n, d], element.size()), element);
        let mut k = InputBinding::new(tensor(client, &[n, d], element.size()), element);
        k.swap_dims(0, 1);
        let scores = tensor(client, &[n, n], 4);
        let mut types = MatmulElems::from_globals(&MatmulGlobalElems {
            lhs: element,
            rhs: element,
            out: f32::as_type_native_unchecked().storage_type(),
        });
        cubek_matmul::launch::launch_ref(strategy, client, q, k, scores, &mut types)
    }))
}

/// cubek's flash attention, [1, heads, n, d] throughout.
fn cubek_flash(sizes: Sizes, element: StorageType) -> Result<Launch, String> {
    use cubek_attention::launch::{BlueprintStrategy, Strategy, launch_ref};
    let Sizes { heads, n, d } = sizes;
    one(record::<MslCompiler, _>(|client| {
        let new = || tensor(client, &[1, heads, n, d], element.size());
        let types = AttentionGlobalTypes {
            query: element,
            key: element,
            value: element,
            mask: AttentionGlobalTypes::mask_dtype(client),
            out: element,
        };
        let planes = BlackboxAcceleratedStrategy {
            num_planes: 4,
            seq_q: 1,
            seq_kv: 1,
        };
        launch_ref(
            Strategy::BlackboxAccelerated(BlueprintStrategy::Inferred(planes)),
            client,
            new(),
            new(),
            new(),
            None,
            new(),
            &types,
            AttentionOptions::default(),
        )
    }))
}

fn translated(launch: Result<Launch, String>) -> Result<Launch, String> {
    let launch = launch?;
    let buffers = launch.buffer_bytes.len() + usize::from(!launch.info.is_empty());
    let wgsl = launch.source?;
    let made = targets::wgsl_to_msl(&wgsl, &launch.entry, buffers)?;
    Ok(Launch {
        entry: made.entry,
        source: Ok(made.text),
        threadgroup_bytes: made.threadgroup_bytes,
        ..launch
    })
}

/// Every kernel that the comparison is about.
pub fn generate(sizes: Sizes) -> Vec<Generated> {
    use cubek_matmul::launch::Strategy;
    use cubek_matmul::routines::BlueprintStrategy;
    let (single, half) = (
        f32::as_type_native_unchecked().storage_type(),
        f16::as_type_native_unchecked().storage_type(),
    );
    let matrices = Strategy::SimpleCyclicCmma(BlueprintStrategy::Inferred(Default::default()));
    let units = Strategy::SimpleUnit(BlueprintStrategy::Inferred(Default::default()));
    let msl = |kind, element, versions, launch| Generated {
        kind,
        way: "msl",
        element,
        versions,
        launch,
    };
    let wgsl = |kind, element, launch| Generated {
        kind,
        way: "wgsl",
        element,
        versions: WGSL_VERSIONS,
        launch: translated(launch),
    };
    let (f_32, f_16) = ("float32", "float16");
    vec![
        msl(
            "scalar",
            f_32,
            MSL_VERSIONS,
            product::<MslCompiler, f32>(sizes, false),
        ),
        msl(
            "scalar",
            f_16,
            MSL_VERSIONS,
            product::<MslCompiler, f16>(sizes, false),
        ),
        msl(
            "cmma",
            f_32,
            MSL_VERSIONS,
            product::<MslCompiler, f32>(sizes, true),
        ),
        msl(
            "cmma",
            f_16,
            MSL_VERSIONS,
            product::<MslCompiler, f16>(sizes, true),
        ),
        msl(
            "cubek",
            f_32,
            CUBEK_VERSIONS,
            cubek_product::<MslCompiler>(sizes, single, &matrices),
        ),
        msl(
            "cubek",
            f_16,
            CUBEK_VERSIONS,
            cubek_product::<MslCompiler>(sizes, half, &matrices),
        ),
        msl("flash", f_32, CUBEK_VERSIONS, cubek_flash(sizes, single)),
        msl("flash", f_16, CUBEK_VERSIONS, cubek_flash(sizes, half)),
        wgsl("scalar", f_32, product::<WgslCompiler, f32>(sizes, false)),
        wgsl("scalar", f_16, product::<WgslCompiler, f16>(sizes, false)),
        wgsl("cmma", f_32, product::<WgslCompiler, f32>(sizes, true)),
        wgsl("cmma", f_16, product::<WgslCompiler, f16>(sizes, true)),
        wgsl(
            "unit",
            f_32,
            cubek_product::<WgslCompiler>(sizes, single, &units),
        ),
        wgsl(
            "unit",
            f_16,
            cubek_product::<WgslCompiler>(sizes, half, &units),
        ),
    ]
}
