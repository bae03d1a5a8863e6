//! The wrapper is the inner backend in everything but attention: the same program, both ways.

use attnproto_burn::MetalAttentionBackend;
use burn_ndarray::NdArray;
use burn_tensor::backend::Backend;
use burn_tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn_tensor::{Bool, Distribution, Int, Tensor, TensorData, activation, module};

fn results<B: Backend>() -> Vec<TensorData> {
    let device = B::Device::default();
    let values = |scale: f32| {
        (0..24)
            .map(|i| (i as f32 * scale).sin())
            .collect::<Vec<f32>>()
    };
    let a = Tensor::<B, 2>::from_data(TensorData::new(values(0.7), [4, 6]), &device);
    let b = Tensor::<B, 2>::from_data(TensorData::new(values(1.3), [4, 6]), &device);
    let i = Tensor::<B, 1, Int>::from_data([2, 0, 3], &device);
    let image = Tensor::<B, 4>::from_data(TensorData::new(values(0.3), [1, 2, 3, 4]), &device);
    let weight = Tensor::<B, 4>::from_data(TensorData::new(values(0.9), [3, 2, 2, 2]), &device);
    let mask: Tensor<B, 2, Bool> = a.clone().greater(b.clone());
    let (sorted, order) = a.clone().sort_with_indices(1);
    B::seed(&device, 7);
    let random = Tensor::<B, 2>::random([3, 5], Distribution::Normal(0.0, 1.0), &device);
    let (pooled, places) =
        module::max_pool2d_with_indices(image.clone(), [2, 2], [1, 1], [0, 0], [1, 1], false);
    vec![
        (a.clone() + b.clone()).into_data(),
        (a.clone() * b.clone() - 2.0).into_data(),
        (a.clone() / (b.clone().abs() + 1.0)).into_data(),
        a.clone().matmul(b.clone().transpose()).into_data(),
        a.clone().exp().log().sqrt().into_data(),
        a.clone().tanh().recip().into_data(),
        a.clone().powf_scalar(2.0).into_data(),
        a.clone().clamp(-0.5, 0.5).into_data(),
        a.clone().sum_dim(0).into_data(),
        a.clone().mean().into_data(),
        a.clone().max_dim(1).into_data(),
        a.clone().argmax(1).into_data(),
        a.clone().cumsum(1).into_data(),
        a.clone().select(0, i.clone()).into_data(),
        a.clone().gather(1, order.clone()).into_data(),
        a.clone().mask_fill(mask.clone(), 9.0).into_data(),
        a.clone().mask_where(mask.clone(), b.clone()).into_data(),
        a.clone().slice([1..3, 2..5]).into_data(),
        a.clone().reshape([3, 8]).permute([1, 0]).into_data(),
        a.clone().repeat_dim(0, 2).into_data(),
        Tensor::cat(vec![a.clone(), b.clone()], 1).into_data(),
        sorted.into_data(),
        order.into_data(),
        mask.clone().bool_not().int().into_data(),
        mask.any().into_data(),
        i.clone().mul_scalar(3).add_scalar(1).float().into_data(),
        i.one_hot::<2>(5).into_data(),
        random.into_data(),
        activation::softmax(a.clone(), 1).into_data(),
        activation::gelu(a.clone()).into_data(),
        activation::sigmoid(b.clone()).into_data(),
        module::conv2d(
            image,
            weight,
            None,
            ConvOptions::new([1, 1], [0, 0], [1, 1], 1),
        )
        .into_data(),
        pooled.into_data(),
        places.into_data(),
    ]
}

fn masked_attention<B: Backend>() -> TensorData {
    let device = B::Device::default();
    let values = (0..64)
        .map(|i| (i as f32 * 0.4).cos())
        .collect::<Vec<f32>>();
    let q = Tensor::<B, 4>::from_data(TensorData::new(values, [1, 1, 8, 8]), &device);
    let mask = q.clone().matmul(q.clone().transpose()).greater_elem(1.0);
    let options = AttentionModuleOptions::default();
    module::attention(q.clone(), q.clone(), q, Some(mask), None, options).into_data()
}

#[test]
fn the_wrapper_computes_what_the_inner_backend_computes() {
    let (inner, wrapped) = (
        results::<NdArray>(),
        results::<MetalAttentionBackend<NdArray>>(),
    );
    assert_eq!(inner.len(), wrapped.len());
    for (number, (expected, found)) in inner.iter().zip(&wrapped).enumerate() {
        assert_eq!(expected, found, "operation {number}");
    }
}

#[test]
fn attention_that_the_kernel_does_not_compute_is_the_inner_backends() {
    assert_eq!(
        masked_attention::<NdArray>(),
        masked_attention::<MetalAttentionBackend<NdArray>>()
    );
}
