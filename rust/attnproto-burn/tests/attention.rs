//! The kernel through every road, against FP64. Needs ATTNPROTO_LIBRARY and ATTNPROTO_KERNELS
//! (`make rust-test` sets them).

use attnproto_burn::{AttentionBackend, FlashOptions, MetalAttentionBackend, reference, shared};
use burn_ndarray::NdArray;
use burn_tensor::backend::Backend;
use burn_tensor::ops::AttentionModuleOptions;
use burn_tensor::{Tensor, TensorData, module};

fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn tensor<B: Backend>(data: &[f32], shape: [usize; 4]) -> Tensor<B, 4> {
    Tensor::from_data(TensorData::new(data.to_vec(), shape), &B::Device::default())
}

fn trait_attention<B: AttentionBackend>(
    tensors: [Tensor<B, 4>; 3],
    options: FlashOptions,
) -> Result<Vec<f32>, attnproto_sys::Error> {
    let [q, k, v] = tensors.map(|tensor| tensor.into_primitive().tensor());
    let output = B::flash_attention(q, k, v, None, options)?;
    let output = Tensor::<B, 4>::from_primitive(burn_tensor::TensorPrimitive::Float(output));
    Ok(output.into_data().to_vec().expect("F32"))
}

fn module_attention<B: Backend>(tensors: [Tensor<B, 4>; 3], causal: bool) -> Vec<f32> {
    let [q, k, v] = tensors;
    let options = AttentionModuleOptions {
        is_causal: causal,
        ..Default::default()
    };
    module::attention(q, k, v, None, None, options)
        .into_data()
        .to_vec()
        .expect("F32")
}

fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - b).abs();
        assert!(
            error <= 1e-5 + 1e-4 * b.abs(),
            "{what}: element {i} is {a}, needs {b}"
        );
    }
}

#[test]
fn every_road_agrees_with_fp64() {
    type Wrapped = MetalAttentionBackend<NdArray>;
    for (heads, nq, nkv, causal) in [
        (1, 1, 1, false),
        (2, 63, 100, false),
        (2, 63, 100, true),
        (1, 100, 63, true),
        (3, 128, 128, true),
    ] {
        let d = 64;
        let (q, k, v) = (
            values(heads * nq * d, 1),
            values(heads * nkv * d, 2),
            values(heads * nkv * d, 3),
        );
        let expected = reference::attention([&q, &k, &v], [heads, nq, nkv, d], causal);
        let (queries, keys) = ([1, heads, nq, d], [1, heads, nkv, d]);
        let options = FlashOptions {
            causal,
            scale: None,
        };
        fn three<B: Backend>(
            [q, k, v]: [&[f32]; 3],
            queries: [usize; 4],
            keys: [usize; 4],
        ) -> [Tensor<B, 4>; 3] {
            [tensor(q, queries), tensor(k, keys), tensor(v, keys)]
        }
        let direct = trait_attention::<NdArray>(three([&q, &k, &v], queries, keys), options);
        assert_close(&direct.expect("direct"), &expected, "NdArray");
        let wrapped = trait_attention::<Wrapped>(three([&q, &k, &v], queries, keys), options);
        let wrapped = wrapped.expect("wrapped");
        assert_close(&wrapped, &expected, "the wrapper");
        let modelled = module_attention::<Wrapped>(three([&q, &k, &v], queries, keys), causal);
        if causal && nq != nkv {
            // Burn's own mask counts from the first key: the inner backend's, bit for bit.
            let inner = module_attention::<NdArray>(three([&q, &k, &v], queries, keys), causal);
            assert_eq!(modelled, inner);
        } else {
            // Bit for bit the kernel's, so it did not fall back.
            assert_eq!(modelled, wrapped);
        }
        // A view that is not contiguous is gathered.
        let [q_t, k_t, v_t] = three::<NdArray>([&q, &k, &v], queries, keys)
            .map(|t| Tensor::cat(vec![t.clone().swap_dims(2, 3)], 3).swap_dims(2, 3));
        let gathered = trait_attention::<NdArray>([q_t, k_t, v_t], options).expect("gathered");
        assert_eq!(gathered, wrapped);
    }
}

/// Masked attention by both implementations, and the same by FP64 over the keys that are seen.
#[test]
fn a_mask_is_honoured() {
    fn masked<B: AttentionBackend>(data: [&[f32]; 3], hidden: usize, causal: bool) -> Vec<f32> {
        let shape = [1, 1, 16, 64];
        let [q, k, v] = data.map(|data| tensor::<B>(data, shape));
        let keys = Tensor::<B, 1, burn_tensor::Int>::arange(0..16, &Default::default());
        let mask = keys
            .lower_elem(hidden as i32)
            .reshape([1, 1, 1, 16])
            .expand([1, 1, 16, 16]);
        let options = FlashOptions {
            causal,
            scale: None,
        };
        let [q, k, v] = [q, k, v].map(|it| it.into_primitive().tensor());
        let mask = Some(mask.into_primitive());
        let output = B::flash_attention(q, k, v, mask, options).expect("attention");
        let output = Tensor::<B, 4>::from_primitive(burn_tensor::TensorPrimitive::Float(output));
        output.into_data().to_vec().expect("F32")
    }
    let (q, k, v) = (values(1024, 1), values(1024, 2), values(1024, 3));
    // The first 4 keys are hidden: attention over the others.
    let seen = [&q, &k[4 * 64..], &v[4 * 64..]];
    let expected = reference::attention(seen, [1, 16, 12, 64], false);
    let data = [q.as_slice(), &k, &v];
    assert_close(&masked::<NdArray>(data, 4, false), &expected, "NdArray");
    type Wrapped = MetalAttentionBackend<NdArray>;
    assert_close(&masked::<Wrapped>(data, 4, false), &expected, "the wrapper");
    let expected = reference::attention(data, [1, 16, 16, 64], true);
    assert_close(
        &masked::<Wrapped>(data, 0, true),
        &expected,
        "an empty mask",
    );
}

#[test]
fn a_mask_that_does_not_fit_is_an_error() {
    let device = Default::default();
    let ones = |shape| {
        Tensor::<NdArray, 4>::ones(shape, &device)
            .into_primitive()
            .tensor()
    };
    let mask = |shape| {
        Tensor::<NdArray, 4>::ones(shape, &device)
            .greater_elem(0)
            .into_primitive()
    };
    let q = || ones([1, 2, 8, 64]);
    let failed = |heads, keys, shape, causal| {
        let options = FlashOptions {
            causal,
            scale: None,
        };
        let (k, v) = (ones([1, heads, keys, 64]), ones([1, heads, keys, 64]));
        let error = NdArray::flash_attention(q(), k, v, Some(mask(shape)), options);
        error.expect_err("an error").to_string()
    };
    assert!(failed(2, 8, [1, 2, 8, 9], false).contains("[B, Hq, Nq, Nkv]"));
    assert!(failed(1, 8, [1, 2, 8, 8], false).contains("as many KV heads"));
    assert!(failed(2, 9, [1, 2, 8, 9], true).contains("Nq = Nkv"));
}

#[test]
fn what_the_kernel_cannot_take_is_an_error() {
    let ones = |shape| Tensor::<NdArray, 4>::ones(shape, &Default::default());
    let good = [1, 2, 16, 64];
    for (q, k, v, part) in [
        (good, [1, 2, 16, 32], [1, 2, 16, 32], "one D"),
        (good, good, [1, 2, 17, 64], "of one shape"),
        (
            good,
            [1, 3, 16, 64],
            [1, 3, 16, 64],
            "a multiple of KV heads",
        ),
        (
            [1, 2, 16, 24],
            [1, 2, 16, 24],
            [1, 2, 16, 24],
            "an exported variant",
        ),
    ] {
        let failed = trait_attention([ones(q), ones(k), ones(v)], FlashOptions::default());
        let message = failed.expect_err("an error").to_string();
        assert!(message.contains(part), "{message}");
    }
    let scaled = FlashOptions {
        causal: false,
        scale: Some(f64::NAN),
    };
    let failed = trait_attention([ones(good), ones(good), ones(good)], scaled);
    assert!(
        failed
            .expect_err("an error")
            .to_string()
            .contains("a scale from")
    );
    let doubles = || ones(good).cast(burn_tensor::FloatDType::F64);
    let failed = trait_attention([doubles(), doubles(), doubles()], FlashOptions::default());
    assert!(
        failed
            .expect_err("an error")
            .to_string()
            .contains("needs F32")
    );
    assert_eq!(
        shared().expect("opened").library().version(),
        attnproto_sys::VERSION
    );
}
