//! Metal source from CubeCL's own MSL dialect, compiled without a device: the
//! kernel definition is built by hand and handed to the compiler that a Metal
//! runtime would use.

mod compile;
mod kernels;

use cubecl::prelude::*;
use cubecl_core::{compute::KernelBuilder, frontend::ArrayCompilationArg};
use half::f16;

/// The crates that decide what the text looks like.
pub const VERSIONS: &str = "cubecl 0.10.0, cubecl-cpp 0.10.0";

/// S = Q K^T of [n, d] by [n, d], and how a host launches it.
///
/// Buffers 0, 1 and 2 are Q, K and S; buffer 3 is CubeCL's information on them:
/// the three lengths in elements, twice.
pub struct Generated {
    pub name: String,
    /// The text, or why CubeCL made none.
    pub source: Result<String, String>,
    pub element: &'static str,
    pub n: usize,
    pub d: usize,
    /// Rows and columns of S that a threadgroup covers.
    pub tile: (u32, u32),
    pub threads: [u32; 2],
}

fn arrays<F: Float>(builder: &mut KernelBuilder) -> [<Array<F> as CubeType>::ExpandType; 2] {
    let argument = ArrayCompilationArg { inplace: None };
    [
        <Array<F> as LaunchArg>::expand(&argument, builder),
        <Array<F> as LaunchArg>::expand(&argument, builder),
    ]
}

fn output(builder: &mut KernelBuilder) -> <Array<f32> as CubeType>::ExpandType {
    <Array<f32> as LaunchArg>::expand_output(&ArrayCompilationArg { inplace: None }, builder)
}

fn scalar<F: Float>(element: &'static str, n: usize, d: usize) -> Generated {
    let name = format!("scalar_{element}_n{n}_d{d}");
    let source = compile::to_msl(&name, CubeDim::new_2d(8, 8), |builder| {
        let [q, k] = arrays::<F>(builder);
        let scores = output(builder);
        kernels::scalar_scores::expand::<F>(&mut builder.scope, q, k, scores, n, d);
    });
    Generated {
        name,
        source,
        element,
        n,
        d,
        tile: (8, 8),
        threads: [8, 8],
    }
}

fn matrix<F: Float>(element: &'static str, n: usize, d: usize) -> Generated {
    let name = format!("cmma_{element}_n{n}_d{d}");
    let source = compile::to_msl(&name, CubeDim::new_2d(32, 1), |builder| {
        let [q, k] = arrays::<F>(builder);
        let scores = output(builder);
        kernels::matrix_scores::expand::<F>(&mut builder.scope, q, k, scores, n, d);
    });
    Generated {
        name,
        source,
        element,
        n,
        d,
        tile: (8, 8),
        threads: [32, 1],
    }
}

/// Every kernel that the comparison is about.
pub fn generate() -> Vec<Generated> {
    let (n, d) = (64, 64);
    vec![
        scalar::<f32>("float32", n, d),
        scalar::<f16>("float16", n, d),
        matrix::<f32>("float32", n, d),
        matrix::<f16>("float16", n, d),
    ]
}
