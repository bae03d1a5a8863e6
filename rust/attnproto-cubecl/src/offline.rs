//! A runtime without a device: what is launched is compiled and written down, and runs nowhere.
//!
//! A launch goes the way it would go on a Mac up to the device's own compiler, so that whole
//! libraries of kernels (cubek) choose, specialise and launch here as they would there.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use cubecl::CubeTask;
use cubecl::prelude::*;
use cubecl_common::backtrace::BackTrace;
use cubecl_common::bytes::Bytes;
use cubecl_common::device::{Device, DeviceId, DeviceService, ServerUtilitiesHandle};
use cubecl_common::future::{DynFut, block_on};
use cubecl_common::profile::ProfileDuration;
use cubecl_common::stream_id::StreamId;
use cubecl_core::Compiler;
use cubecl_ir::{DeviceProperties, TargetProperties};
use cubecl_runtime::allocator::ContiguousMemoryLayoutPolicy;
use cubecl_runtime::kernel::KernelMetadata;
use cubecl_runtime::logging::ServerLogger;
use cubecl_runtime::memory_management::{ManagedMemoryHandle, MemoryAllocationMode, MemoryUsage};
use cubecl_runtime::server::{
    Binding, ComputeServer, CopyDescriptor, KernelArguments, ProfileError, ProfilingToken,
    ServerCommunication, ServerError, ServerUtilities,
};
use cubecl_runtime::storage::{BytesResource, BytesStorage, ManagedResource};
use cubecl_zspace::{Shape, Strides};

/// A compiler and the device it is told to compile for.
pub trait Target: Compiler + Default {
    fn properties() -> DeviceProperties;
}

/// A kernel as a device would have got it.
#[derive(Debug)]
pub struct Launch {
    pub entry: String,
    /// The text, or why there is none.
    pub source: Result<String, String>,
    pub threadgroups: [u32; 3],
    pub threads: [u32; 3],
    /// Sizes of threadgroup memory that the host must give, by index.
    pub threadgroup_bytes: Vec<u32>,
    pub buffer_bytes: Vec<u64>,
    /// Lengths, shapes and strides: the last buffer.
    pub info: Vec<u64>,
}

static LAUNCHES: Mutex<Vec<Launch>> = Mutex::new(Vec::new());
static RECORDING: Mutex<()> = Mutex::new(());

/// Return what `launch` launches on a target.
pub fn record<T: Target, E: Debug>(
    launch: impl FnOnce(&ComputeClient<Offline<T>>) -> Result<(), E>,
) -> Result<Vec<Launch>, String> {
    let _alone = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
    let client = Offline::<T>::client(&NoDevice);
    let launched = caught(|| launch(&client).map_err(|error| format!("{error:?}")));
    block_on(client.sync()).map_err(|error| format!("{error:?}"))?;
    let launches = std::mem::take(&mut *LAUNCHES.lock().unwrap_or_else(PoisonError::into_inner));
    launched.map(|()| launches)
}

/// CubeCL's compilers say some of what they cannot do by panicking.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", said.unwrap_or("no message")))
    })
}

#[derive(Clone, Debug, Default)]
pub struct NoDevice;

impl Device for NoDevice {
    fn from_id(_: DeviceId) -> Self {
        Self
    }
    fn to_id(&self) -> DeviceId {
        DeviceId::new(0, 0)
    }
}

#[derive(Clone, Debug)]
pub struct Offline<T>(PhantomData<T>);

impl<T: Target> Runtime for Offline<T> {
    type Compiler = T;
    type Server = Recorder<T>;
    type Device = NoDevice;

    fn client(device: &NoDevice) -> ComputeClient<Self> {
        ComputeClient::load(device)
    }
    fn name(_: &ComputeClient<Self>) -> &'static str {
        "offline"
    }
    fn max_cube_count() -> (u32, u32, u32) {
        T::properties().hardware.max_cube_count
    }
    fn can_read_tensor(_: &Shape, _: &Strides) -> bool {
        false
    }
    fn target_properties() -> TargetProperties {
        // Of manual MMA, which neither target has.
        TargetProperties::default()
    }
    fn enumerate_devices(_: u16, _: &()) -> Vec<DeviceId> {
        vec![NoDevice.to_id()]
    }
}

#[derive(Debug)]
pub struct Recorder<T: Target> {
    utilities: Arc<ServerUtilities<Self>>,
    target: PhantomData<T>,
}

impl<T: Target> DeviceService for Recorder<T> {
    fn init(_: DeviceId) -> Self {
        let properties = T::properties();
        let policy = ContiguousMemoryLayoutPolicy::new(properties.memory.alignment as usize);
        let logger = Arc::new(ServerLogger::default());
        Self {
            utilities: Arc::new(ServerUtilities::new(properties, logger, (), policy)),
            target: PhantomData,
        }
    }
    fn utilities(&self) -> ServerUtilitiesHandle {
        self.utilities.clone()
    }
}

impl<T: Target> ServerCommunication for Recorder<T> {
    const SERVER_COMM_ENABLED: bool = false;
}

fn no_device() -> ServerError {
    ServerError::Generic {
        reason: "[offline] found a request for data, needs a device".into(),
        backtrace: BackTrace::capture(),
    }
}

impl<T: Target> ComputeServer for Recorder<T> {
    type Kernel = Box<dyn CubeTask<T>>;
    type Info = ();
    type MemoryLayoutPolicy = ContiguousMemoryLayoutPolicy;
    type Storage = BytesStorage;

    unsafe fn launch(
        &mut self,
        kernel: Self::Kernel,
        count: CubeCount,
        arguments: KernelArguments,
        mode: ExecutionMode,
        _: StreamId,
    ) {
        let mut entry = String::new();
        let mut threads = [0; 3];
        let source = caught(|| {
            let compiled = kernel
                .compile(
                    &mut T::default(),
                    &T::CompilationOptions::default(),
                    mode,
                    kernel.address_type(),
                )
                .map_err(|error| format!("{error}"))?;
            entry = compiled.entrypoint_name;
            let dim = compiled.cube_dim;
            threads = [dim.x, dim.y, dim.z];
            Ok(compiled.source)
        });
        let (threadgroups, source) = match count {
            CubeCount::Static(x, y, z) => ([x, y, z], source),
            CubeCount::Dynamic(_) => ([0; 3], Err("a grid that only the device knows".into())),
        };
        let launch = Launch {
            entry,
            source,
            threadgroups,
            threads,
            threadgroup_bytes: Vec::new(),
            buffer_bytes: arguments.buffers.iter().map(Binding::size).collect(),
            info: arguments.info.data,
        };
        LAUNCHES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(launch);
    }

    fn logger(&self) -> Arc<ServerLogger> {
        self.utilities.logger.clone()
    }
    fn utilities(&self) -> Arc<ServerUtilities<Self>> {
        self.utilities.clone()
    }
    fn sync(&mut self, _: StreamId) -> DynFut<Result<(), ServerError>> {
        Box::pin(async { Ok(()) })
    }
    fn flush(&mut self, _: StreamId) -> Result<(), ServerError> {
        Ok(())
    }
    // Buffers have a size and no memory: nothing reads or writes them.
    fn initialize_memory(&mut self, _: ManagedMemoryHandle, _: u64, _: StreamId) {}
    fn write(&mut self, _: Vec<(CopyDescriptor, Bytes)>, _: StreamId) {}
    fn memory_cleanup(&mut self, _: StreamId) {}
    fn allocation_mode(&mut self, _: MemoryAllocationMode, _: StreamId) {}
    fn read(
        &mut self,
        _: Vec<CopyDescriptor>,
        _: StreamId,
    ) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        Box::pin(async { Err(no_device()) })
    }
    fn get_resource(
        &mut self,
        _: Binding,
        _: StreamId,
    ) -> Result<ManagedResource<BytesResource>, ServerError> {
        Err(no_device())
    }
    fn memory_usage(&mut self, _: StreamId) -> Result<MemoryUsage, ServerError> {
        Err(no_device())
    }
    fn start_profile(&mut self, _: StreamId) -> Result<ProfilingToken, ServerError> {
        Err(no_device())
    }
    fn end_profile(
        &mut self,
        _: StreamId,
        _: ProfilingToken,
    ) -> Result<ProfileDuration, ProfileError> {
        Err(ProfileError::Server(Box::new(no_device())))
    }
}
