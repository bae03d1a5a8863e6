//! A backend that is another one in everything but attention.

use std::marker::PhantomData;

use burn_backend::ops::AttentionModuleOptions;
use burn_backend::tensor::{BoolTensor, Device, FloatTensor};
use burn_backend::{
    Backend, BackendTypes, DType, DTypeUsageSet, ExecutionError, TensorData, TensorMetadata,
    read_sync,
};

use crate::{FlashOptions, Problem, attend, shared};

/// `B`, whose `burn::tensor::module::attention` runs our kernel where it can.
///
/// What the kernel does not compute (a mask, a bias, a soft cap, causal attention of other lengths
/// than Nq = Nkv, another element type, a head dimension it has no variant for) and what fails is
/// left to `B`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetalAttentionBackend<B>(PhantomData<B>);

impl<B: Backend> BackendTypes for MetalAttentionBackend<B> {
    type Device = B::Device;
    type FloatTensorPrimitive = B::FloatTensorPrimitive;
    type FloatElem = B::FloatElem;
    type IntTensorPrimitive = B::IntTensorPrimitive;
    type IntElem = B::IntElem;
    type BoolTensorPrimitive = B::BoolTensorPrimitive;
    type BoolElem = B::BoolElem;
    type QuantizedTensorPrimitive = B::QuantizedTensorPrimitive;
}

impl<B: Backend> Backend for MetalAttentionBackend<B> {
    fn ad_enabled(device: &Device<Self>) -> bool {
        B::ad_enabled(device)
    }
    fn memory_persistent_allocations<
        Output: Send,
        Input: Send,
        Func: Fn(Input) -> Output + Send,
    >(
        device: &Device<Self>,
        input: Input,
        func: Func,
    ) -> Output {
        B::memory_persistent_allocations(device, input, func)
    }
    fn memory_cleanup(device: &Device<Self>) {
        B::memory_cleanup(device)
    }
    fn name(device: &Device<Self>) -> String {
        format!("attnproto<{}>", B::name(device))
    }
    fn seed(device: &Device<Self>, seed: u64) {
        B::seed(device, seed)
    }
    fn sync(device: &Device<Self>) -> Result<(), ExecutionError> {
        B::sync(device)
    }
    fn staging<'a, Iter>(data: Iter, device: &Device<Self>)
    where
        Iter: Iterator<Item = &'a mut TensorData>,
    {
        B::staging(data, device)
    }
    fn supports_dtype(device: &Device<Self>, dtype: DType) -> bool {
        B::supports_dtype(device, dtype)
    }
    fn dtype_usage(device: &Device<Self>, dtype: DType) -> DTypeUsageSet {
        B::dtype_usage(device, dtype)
    }
    fn device_count(type_id: u16) -> usize {
        B::device_count(type_id)
    }
}

pub(crate) fn attention<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    mask: Option<BoolTensor<B>>,
    attn_bias: Option<FloatTensor<B>>,
    options: AttentionModuleOptions,
) -> FloatTensor<B> {
    let (queries, keys) = (query.shape(), key.shape());
    // Burn counts causal positions from the first key, the kernel from the last.
    let square = queries.num_dims() == 4 && keys.num_dims() == 4 && queries[2] == keys[2];
    let aligned = !options.is_causal || square;
    let plain = mask.is_none() && attn_bias.is_none() && options.softcap.is_none() && aligned;
    let ours = FlashOptions {
        causal: options.is_causal,
        scale: options.scale,
    };
    let float = [&query, &key, &value].map(|tensor| tensor.dtype() == DType::F32);
    let problem = Problem::new(&queries, &keys, &value.shape(), ours).ok();
    let problem = problem.filter(|p| shared().is_ok_and(|flash| flash.covers(p)));
    let Some(problem) = problem.filter(|_| plain && float == [true; 3]) else {
        return B::attention(query, key, value, mask, attn_bias, options);
    };
    let device = B::float_device(&query);
    // Moved out and, where the dispatch fails, back: a clone would make each a copy.
    let read = [query, key, value].map(|t| read_sync(B::float_into_data(t)));
    let [query, key, value] = read.map(|data| data.expect("a tensor that can be read"));
    match attend(&problem, &query, &key, &value) {
        Ok(output) => B::float_from_data(output, &device),
        Err(_) => {
            let [q, k, v] = [query, key, value].map(|data| B::float_from_data(data, &device));
            B::attention(q, k, v, None, None, options)
        }
    }
}
