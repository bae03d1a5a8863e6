//! Flash attention for Burn without a fork: an extension trait over `Backend`, a
//! direct implementation for NdArray, and a wrapper that is itself a `Backend`.

mod delegate;
mod flash;
pub mod reference;
mod wrapper;

use attnproto_sys::Error;
use burn_backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn_backend::{DType, TensorData, read_sync};
use burn_ndarray::NdArray;

pub use flash::{Flash, Problem, shared};
pub use wrapper::MetalAttentionBackend;

/// What is done to the scores.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlashOptions {
    /// Query i sees only keys j <= i + (Nkv - Nq).
    pub causal: bool,
    /// Factor of the scores; D^-0.5 when None.
    pub scale: Option<f64>,
}

/// A backend with attention that never stores its scores.
pub trait AttentionBackend: Backend {
    /// softmax(scale Q K^T + mask) V.
    ///
    /// `query` is [B, Hq, Nq, D], `key` and `value` are [B, Hkv, Nkv, D] where Hkv divides Hq,
    /// all float32. An explicit mask is none of the kernel's variants; `causal` is.
    fn flash_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        options: FlashOptions,
    ) -> Result<FloatTensor<Self>, Error>;
}

impl AttentionBackend for NdArray {
    fn flash_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        options: FlashOptions,
    ) -> Result<FloatTensor<Self>, Error> {
        through_host::<Self>(query, key, value, options)
    }
}

impl<B: Backend> AttentionBackend for MetalAttentionBackend<B> {
    fn flash_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        options: FlashOptions,
    ) -> Result<FloatTensor<Self>, Error> {
        through_host::<B>(query, key, value, options)
    }
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
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    options: FlashOptions,
) -> Result<FloatTensor<B>, Error> {
    let device = B::float_device(&query);
    let problem = Problem::new(&query.shape(), &key.shape(), &value.shape(), options)?;
    let [query, key, value] = [
        to_host::<B>(query)?,
        to_host::<B>(key)?,
        to_host::<B>(value)?,
    ];
    let output = attend(&problem, &query, &key, &value)?;
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
