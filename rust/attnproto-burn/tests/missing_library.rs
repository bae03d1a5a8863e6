//! Without a library every call is an error that says so, and models still run.

use std::path::Path;

use attnproto_burn::{AttentionBackend, Flash, FlashOptions, MetalAttentionBackend};
use burn_ndarray::NdArray;
use burn_tensor::ops::AttentionModuleOptions;
use burn_tensor::{Tensor, module};

#[test]
fn a_library_that_is_not_there_is_an_error_and_the_inner_backend_takes_over() {
    let missing = Flash::open(Path::new("/nowhere/libattnproto.so"), Path::new("/nowhere"));
    let Err(error) = missing else {
        panic!("it opened");
    };
    let message = error.to_string();
    assert!(
        message.contains("found no library at /nowhere/libattnproto.so"),
        "{message}"
    );

    // SAFETY: this test is the only thread that reads or writes the environment.
    unsafe {
        std::env::set_var("ATTNPROTO_LIBRARY", "/nowhere/libattnproto.so");
        std::env::set_var("ATTNPROTO_KERNELS", "/nowhere");
    }
    let device = Default::default();
    let ones = || Tensor::<NdArray, 4>::ones([1, 1, 8, 64], &device);
    let primitive = || ones().into_primitive().tensor();
    let options = FlashOptions::default();
    let failed = NdArray::flash_attention(primitive(), primitive(), primitive(), None, options);
    assert!(
        failed
            .expect_err("an error")
            .to_string()
            .contains("needs libattnproto")
    );

    type Wrapped = MetalAttentionBackend<NdArray>;
    let q = Tensor::<Wrapped, 4>::ones([1, 1, 8, 64], &device);
    let options = AttentionModuleOptions::default();
    let output = module::attention(q.clone(), q.clone(), q, None, None, options);
    output
        .into_data()
        .assert_approx_eq::<f32>(&ones().into_data(), burn_tensor::Tolerance::absolute(1e-6));
}
