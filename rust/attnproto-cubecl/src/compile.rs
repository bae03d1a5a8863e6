//! From a kernel's expansion to Metal source.

use cubecl::prelude::*;
use cubecl_common::profile::TimingMethod;
use cubecl_core::{Compiler, compute::KernelBuilder};
use cubecl_cpp::MslCompiler;
use cubecl_cpp::metal::{MslDialect, arch::MetalArchitecture};
use cubecl_cpp::shared::{CompilationOptions, DialectWmmaCompiler, register_wmma_features};
use cubecl_ir::{
    AddressType, DeviceProperties, HardwareProperties, MemoryDeviceProperties, features::Features,
};

/// What cubecl-wgpu reports for an Apple GPU, as far as these kernels ask.
fn apple_gpu() -> DeviceProperties {
    let hardware = HardwareProperties {
        load_width: 128,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 31,
        max_shared_memory_size: 32768,
        max_cube_count: (u32::MAX, u32::MAX, u32::MAX),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 1024),
        num_streaming_multiprocessors: None,
        num_cpu_cores: None,
        num_tensor_cores: None,
        min_tensor_cores_dim: Some(8),
        max_vector_size: 4,
    };
    let memory = MemoryDeviceProperties {
        max_page_size: 1 << 32,
        alignment: 32,
    };
    let mut properties =
        DeviceProperties::new(Features::default(), memory, hardware, TimingMethod::Device);
    let combinations = MslDialect::supported_wmma_combinations(&MetalArchitecture::Metal3);
    register_wmma_features(combinations, &mut properties);
    properties
}

/// Compile a kernel to text.
///
/// `expand` receives the builder and calls the kernel's expansion.
pub fn to_msl(
    name: &str,
    cube_dim: CubeDim,
    expand: impl FnOnce(&mut KernelBuilder),
) -> Result<String, String> {
    let mut builder = KernelBuilder::default();
    builder.device_properties(&apple_gpu());
    AddressType::U32.register(&mut builder.scope);
    expand(&mut builder);
    let settings = KernelSettings::default()
        .cube_dim(cube_dim)
        .kernel_name(name);
    let definition = builder.build(settings);
    MslCompiler::default()
        .compile(
            definition,
            &CompilationOptions::default(),
            ExecutionMode::Unchecked,
            AddressType::U32.unsigned_type(),
        )
        .map(|kernel| kernel.to_string())
        .map_err(|error| format!("{error:?}"))
}
