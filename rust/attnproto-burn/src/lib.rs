//! Flash attention for Burn without a fork: an extension trait over `Backend`, a
//! direct implementation for NdArray, and a wrapper that is itself a `Backend`.

mod delegate;
mod flash;
pub mod reference;
mod wrapper;

use attnproto_sys::Error;
use burn_backend::ops::AttentionModuleOptions;
use burn_backend::tensor::{BoolTensor, FloatTensor};
use burn_backend::{Backend, DType, TensorData, TensorMetadata, read_sync};
use burn_ndarray::NdArray;

pub use flash::{Flash, Problem, shared};
pub use wrapper::MetalAttentionBackend;

/// What is done to the scores.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlashOptions {
    /// Query i sees only keys j <= i + (Nkv - Nq): the last query sees all.
    pub causal: bool,
    /// Factor of the scores; D^-0.5 when None.
    pub scale: Option<f64>,
}

/// A backend with attention that never stores its scores.
pub trait AttentionBackend: Backend {
    /// softmax(scale Q K^T + mask) V.
    ///
    /// `query` is [B, Hq, Nq, D], `key` and `value` are [B, Hkv, Nkv, D] where Hkv divides Hq, all
    /// float32. `mask`, [B, Hq, Nq, Nkv], is true where a key is hidden; no variant of the kernel
    /// reads one, so that attention is left to the backend's own, which needs Hq = Hkv.
    fn flash_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: Option<BoolTensor<Self>>,
        options: FlashOptions,
    ) -> Result<FloatTensor<Self>, Error>;
}

impl AttentionBackend for NdArray {
    fn flash_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: Option<BoolTensor<Self>>,
        options: FlashOptions,
    ) -> Result<FloatTensor<Self>, Error> {
        masked_or_not::<Self>(query, key, value, mask, options)
    }
}

impl<B: Backend> AttentionBackend for MetalAttentionBackend<B> {
    fn flash_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: Option<BoolTensor<Self>>,
        options: FlashOptions,
    ) -> Result<FloatTensor<Self>, Error> {
        masked_or_not::<B>(query, key, value, mask, options)
    }
}

fn masked_or_not<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    mask: Option<BoolTensor<B>>,
    options: FlashOptions,
) -> Result<FloatTensor<B>, Error> {
    let problem = Problem::new(&query.shape(), &key.shape(), &value.shape(), options)?;
    let Some(mask) = mask else {
        return through_host::<B>(&problem, query, key, value);
    };
    problem.check_mask(&mask.shape())?;
    let options = AttentionModuleOptions {
        scale: options.scale,
        softcap: None,
        is_causal: options.causal,
    };
    Ok(B::attention(query, key, value, Some(mask), None, options))
}

fn to_host<B: Backend>(tensor: FloatTensor<B>) -> Result<TensorData, Error> {
    if tensor.dtype() != DType::F32 {
        let found = tensor.dtype();
        return Err(Error(format!(
            "[burn] found {found:?}, needs F32; cast the tensor"
        )));
    }
    read_sync(B::float_into_data(tensor)).map_err(|error| {
        Error(format!(
            "[burn] found {error:?}, needs a tensor that can be read"
        ))
    })
}

/// Through host memory: a uniquely owned contiguous NdArray tensor is moved, not copied, in
/// and out.
fn through_host<B: Backend>(
    problem: &Problem,
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
) -> Result<FloatTensor<B>, Error> {
    let device = B::float_device(&query);
    let [query, key, value] = [
        to_host::<B>(query)?,
        to_host::<B>(key)?,
        to_host::<B>(value)?,
    ];
    let output = attend(problem, &query, &key, &value)?;
    Ok(B::float_from_data(output, &device))
}

fn attend(
    problem: &Problem,
    query: &TensorData,
    key: &TensorData,
    value: &TensorData,
) -> Result<TensorData, Error> {
    // Every element is written: the kernel covers [B, Hq, Nq, D].
    let mut output = vec![0.0f32; query.num_elements()];
    shared()?.attention(
        problem,
        slice(query)?,
        slice(key)?,
        slice(value)?,
        &mut output,
    )?;
    Ok(TensorData::new(output, query.shape.clone()))
}

fn slice(data: &TensorData) -> Result<&[f32], Error> {
    data.as_slice::<f32>().map_err(|error| {
        Error(format!(
            "[burn] found {error:?}, needs F32 data; cast the tensor"
        ))
    })
}

#[cfg(test)]
mod tests {
    use burn_backend::ops::FloatTensorOps;

    use super::*;

    type Host = NdArray;

    #[test]
    fn a_tensor_that_nobody_else_holds_is_moved_and_one_that_is_shared_is_copied() {
        let data = vec![1.0f32; 4096];
        let place = data.as_ptr();
        let tensor =
            Host::float_from_data(TensorData::new(data, [1, 1, 64, 64]), &Default::default());
        let shared = tensor.clone();
        let copied = to_host::<Host>(tensor).expect("host data");
        assert_ne!(slice(&copied).expect("F32").as_ptr(), place);
        let moved = to_host::<Host>(shared).expect("host data");
        assert_eq!(slice(&moved).expect("F32").as_ptr(), place);
    }
}
