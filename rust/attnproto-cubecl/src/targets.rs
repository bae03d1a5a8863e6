//! The two ways to Metal: CubeCL's own MSL, and WGSL that naga translates.

use cubecl_common::profile::TimingMethod;
use cubecl_cpp::MslCompiler;
use cubecl_cpp::metal::{MslDialect, arch::MetalArchitecture};
use cubecl_cpp::shared::{DialectWmmaCompiler, register_wmma_features};
use cubecl_ir::features::{Features, Plane, TypeUsage};
use cubecl_ir::{
    AddressType, DeviceProperties, ElemType, FloatKind, HardwareProperties, IntKind,
    MemoryDeviceProperties, UIntKind,
};
use cubecl_wgpu::WgslCompiler;
use naga::AddressSpace;
use naga::back::msl;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ValidationFlags, Validator};

use crate::offline::Target;

/// What cubecl-wgpu reports of an Apple GPU, as far as these kernels ask.
fn apple_gpu(types: &[ElemType]) -> DeviceProperties {
    let hardware = HardwareProperties {
        load_width: 128,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 30,
        max_shared_memory_size: 32768,
        max_cube_count: (65535, 65535, 65535),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 1024),
        num_streaming_multiprocessors: None,
        num_cpu_cores: None,
        num_tensor_cores: None,
        min_tensor_cores_dim: None,
        max_vector_size: 4,
    };
    let memory = MemoryDeviceProperties {
        max_page_size: 1 << 32,
        alignment: 32,
    };
    let mut properties =
        DeviceProperties::new(Features::default(), memory, hardware, TimingMethod::Device);
    properties.register_address_type(AddressType::U32);
    properties.features.plane.insert(Plane::Ops);
    for &kind in types {
        properties.register_type_usage(kind, TypeUsage::all());
    }
    properties
}

impl Target for MslCompiler {
    fn properties() -> DeviceProperties {
        let mut properties = apple_gpu(&[
            ElemType::UInt(UIntKind::U8),
            ElemType::UInt(UIntKind::U16),
            ElemType::UInt(UIntKind::U32),
            ElemType::UInt(UIntKind::U64),
            ElemType::Int(IntKind::I8),
            ElemType::Int(IntKind::I16),
            ElemType::Int(IntKind::I32),
            ElemType::Int(IntKind::I64),
            ElemType::Float(FloatKind::F16),
            ElemType::Float(FloatKind::F32),
            ElemType::Bool,
        ]);
        properties.register_address_type(AddressType::U64);
        properties.features.alignment = true;
        properties.features.plane.insert(Plane::Sync);
        properties
            .features
            .plane
            .insert(Plane::NonUniformControlFlow);
        let combinations = MslDialect::supported_wmma_combinations(&MetalArchitecture::Metal3);
        register_wmma_features(combinations, &mut properties);
        properties
    }
}

impl Target for WgslCompiler {
    fn properties() -> DeviceProperties {
        apple_gpu(&[
            ElemType::UInt(UIntKind::U32),
            ElemType::Int(IntKind::I32),
            ElemType::Float(FloatKind::F16),
            ElemType::Float(FloatKind::F32),
            ElemType::Bool,
        ])
    }
}

/// What naga made of a kernel.
pub struct Translated {
    pub entry: String,
    pub text: String,
    /// Of its threadgroup memory, which Metal's host gives by index.
    pub threadgroup_bytes: Vec<u32>,
}

/// Translate WGSL to MSL 3.1 as wgpu does for CubeCL, without checks of its own.
///
/// Buffer i of the one bind group is [[buffer(i)]]; after `buffers` of them come the sizes of those
/// without one in their type.
pub fn wgsl_to_msl(source: &str, entry: &str, buffers: usize) -> Result<Translated, String> {
    let module =
        naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let checked = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| error.emit_to_string(source))?;
    let slot = |index: usize| u8::try_from(index).map_err(|_| format!("buffer {index}, needs u8"));
    let mut resources = msl::EntryPointResources {
        sizes_buffer: Some(slot(buffers)?),
        ..Default::default()
    };
    for (_, variable) in module.global_variables.iter() {
        if let Some(binding) = variable.binding {
            let target = msl::BindTarget {
                buffer: Some(slot(binding.binding as usize)?),
                mutable: true,
                ..Default::default()
            };
            resources.resources.insert(binding, target);
        }
    }
    let unchecked = BoundsCheckPolicies {
        index: BoundsCheckPolicy::Unchecked,
        buffer: BoundsCheckPolicy::Unchecked,
        image_load: BoundsCheckPolicy::Unchecked,
        binding_array: BoundsCheckPolicy::Unchecked,
    };
    let options = msl::Options {
        lang_version: (3, 1),
        per_entry_point_map: [(entry.to_string(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: unchecked,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions::default();
    let (text, translated) = msl::write_string(&module, &checked, &options, &pipeline)
        .map_err(|error| format!("{error:?}"))?;
    match translated.entry_point_names.into_iter().next() {
        Some(Ok(entry)) => Ok(Translated {
            entry,
            text,
            threadgroup_bytes: module
                .global_variables
                .iter()
                .filter(|(_, it)| it.space == AddressSpace::WorkGroup)
                // Metal takes multiples of 16.
                .map(|(_, it)| module.types[it.ty].inner.size(module.to_ctx()))
                .map(|bytes| bytes.next_multiple_of(16))
                .collect(),
        }),
        other => Err(format!("no entry point: {other:?}")),
    }
}
