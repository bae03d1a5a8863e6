//! S = Q K^T, [N, D] times [N, D] transposed, in the two ways CubeCL offers.

use cubecl::prelude::*;

/// One score a thread.
#[cube(launch_unchecked)]
pub fn scalar_scores<F: Float>(
    q: &Array<F>,
    k: &Array<F>,
    scores: &mut Array<f32>,
    #[comptime] n: usize,
    #[comptime] d: usize,
) {
    let row = ABSOLUTE_POS_Y as usize;
    let column = ABSOLUTE_POS_X as usize;
    if row < n && column < n {
        let mut sum = 0.0f32;
        for i in 0..d {
            sum += f32::cast_from(q[row * d + i]) * f32::cast_from(k[column * d + i]);
        }
        scores[row * n + column] = sum;
    }
}

/// An 8 x 8 tile of scores a plane (a simdgroup), by matrix instructions.
#[cube(launch_unchecked)]
pub fn matrix_scores<F: Float>(
    q: &Array<F>,
    k: &Array<F>,
    scores: &mut Array<f32>,
    #[comptime] n: usize,
    #[comptime] d: usize,
) {
    let row = CUBE_POS_Y as usize * 8;
    let column = CUBE_POS_X as usize * 8;
    let accumulator = cmma::Matrix::<f32>::from_value(
        cmma::MatrixIdent::Accumulator,
        8usize,
        8usize,
        8usize,
        cmma::MatrixLayout::Undefined,
        0.0,
    );
    for step in 0..comptime!(d / 8) {
        let a = cmma::Matrix::<F>::from_slice(
            cmma::MatrixIdent::A,
            8usize,
            8usize,
            8usize,
            cmma::MatrixLayout::RowMajor,
            &q.slice(row * d + step * 8, n * d),
            d as u32,
        );
        let b = cmma::Matrix::<F>::from_slice(
            cmma::MatrixIdent::B,
            8usize,
            8usize,
            8usize,
            cmma::MatrixLayout::ColMajor,
            &k.slice(column * d + step * 8, n * d),
            d as u32,
        );
        cmma::execute::<F, F, f32, f32>(&a, &b, &accumulator, &accumulator);
    }
    cmma::store(
        &mut scores.slice_mut(row * n + column, n * n),
        &accumulator,
        n as u32,
        cmma::MatrixLayout::RowMajor,
    );
}
