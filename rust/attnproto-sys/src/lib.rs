//! attnproto's C ABI (`cpp/c_api.h`), opened at run time: a missing library is an
//! error, never a program that does not start.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Of the C ABI, ATTNPROTO_C_API_VERSION of cpp/c_api.h.
pub const VERSION: u32 = 3;

/// Why a call failed, as `[where] found X, needs Y; cure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

#[repr(C)]
struct RawBinding {
    index: u32,
    kind: i32,
    buffer: *mut c_void,
    offset: u64,
    data: *mut c_void,
    bytes: u64,
}

#[repr(C)]
struct RawDispatch {
    threadgroups: [u32; 3],
    threads: [u32; 3],
    bindings: *const RawBinding,
    binding_count: usize,
}

#[repr(C)]
struct RawConstant {
    name: *const c_char,
    kind: i32,
    integer: i64,
    real: f64,
}

type Handle = *mut c_void;
type Compile =
    unsafe extern "C" fn(Handle, *const c_char, *const c_char, *const RawConstant, usize) -> Handle;

/// The functions of libattnproto.
pub struct Library {
    version: unsafe extern "C" fn() -> u32,
    last_error: unsafe extern "C" fn() -> *const c_char,
    open: unsafe extern "C" fn(*const c_char, u32) -> Handle,
    close: unsafe extern "C" fn(Handle),
    tier: unsafe extern "C" fn(Handle) -> *const c_char,
    load: unsafe extern "C" fn(Handle, *const c_char) -> Handle,
    compile: Compile,
    release_kernel: unsafe extern "C" fn(Handle),
    run: unsafe extern "C" fn(Handle, Handle, *const RawDispatch, *mut f64) -> c_int,
    // Declared last: the pointers above are into it.
    _library: libloading::Library,
}

fn c_text(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| {
        Error(format!(
            "[sys] found a NUL in {text:?}, needs text without one"
        ))
    })
}

impl Library {
    /// Open libattnproto.
    pub fn open(path: &Path) -> Result<Arc<Self>, Error> {
        // SAFETY: loading runs the library's initialisers, which only set up its own globals;
        // the types are those of c_api.h, and the version is checked before any other call.
        unsafe {
            let library = libloading::Library::new(path).map_err(|error| {
                Error(format!(
                    "[sys] found no library at {} ({error}), needs libattnproto; pip install \
                     attnproto puts it beside the module",
                    path.display()
                ))
            })?;
            macro_rules! function {
                ($name:literal) => {
                    *library
                        .get(concat!("attnproto_", $name, "\0").as_bytes())
                        .map_err(|error| {
                            Error(format!(
                                "[sys] found {error}, needs libattnproto of version {VERSION}"
                            ))
                        })?
                };
            }
            let opened = Self {
                version: function!("version"),
                last_error: function!("last_error"),
                open: function!("open"),
                close: function!("close"),
                tier: function!("tier"),
                load: function!("load"),
                compile: function!("compile"),
                release_kernel: function!("release_kernel"),
                run: function!("run"),
                _library: library,
            };
            match opened.version() {
                VERSION => Ok(Arc::new(opened)),
                other => Err(Error(format!(
                    "[sys] found libattnproto of version {other}, needs {VERSION}; build both anew"
                ))),
            }
        }
    }

    /// The library's version; also the call that does nothing.
    pub fn version(&self) -> u32 {
        // SAFETY: takes and touches nothing.
        unsafe { (self.version)() }
    }

    fn failure(&self) -> Error {
        // SAFETY: the text lives until this thread's next call.
        Error(unsafe { text((self.last_error)()) })
    }
}

/// # Safety
/// `pointer` is NULL or a NUL-terminated text.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer) }
        .to_string_lossy()
        .into_owned()
}

/// An open device.
pub struct Device {
    library: Arc<Library>,
    handle: NonNull<c_void>,
}

// SAFETY: a device serialises its submissions itself (cpp/cpu/cpu_device.cpp, cpp/metal).
unsafe impl Send for Device {}
unsafe impl Sync for Device {}

impl Device {
    /// Open a device; `threads` is for cpu, 0 for one a core.
    pub fn open(library: &Arc<Library>, kind: &str, threads: u32) -> Result<Arc<Self>, Error> {
        let kind = c_text(kind)?;
        // SAFETY: the text outlives the call.
        let handle = unsafe { (library.open)(kind.as_ptr(), threads) };
        let handle = NonNull::new(handle).ok_or_else(|| library.failure())?;
        Ok(Arc::new(Self {
            library: library.clone(),
            handle,
        }))
    }

    /// What a time of this device is worth: "measured" or "emulated".
    pub fn tier(&self) -> String {
        // SAFETY: the handle is open, and the text lives as long as it.
        unsafe { text((self.library.tier)(self.handle.as_ptr())) }
    }

    /// Load an exported kernel.
    pub fn load(self: &Arc<Self>, path: &Path) -> Result<Kernel, Error> {
        let path = c_text(&path.to_string_lossy())?;
        // SAFETY: the handle is open, the text outlives the call.
        let handle = unsafe { (self.library.load)(self.handle.as_ptr(), path.as_ptr()) };
        self.kernel(handle)
    }

    /// Compile a kernel from its text, on a device that has a compiler of its own.
    pub fn compile(
        self: &Arc<Self>,
        text: &str,
        function: &str,
        constants: &[(&str, bool)],
    ) -> Result<Kernel, Error> {
        let (text, function) = (c_text(text)?, c_text(function)?);
        let names = constants
            .iter()
            .map(|(name, _)| c_text(name))
            .collect::<Result<Vec<_>, _>>()?;
        let raw: Vec<RawConstant> = names
            .iter()
            .zip(constants)
            .map(|(name, &(_, value))| RawConstant {
                name: name.as_ptr(),
                kind: 0,
                integer: value.into(),
                real: 0.0,
            })
            .collect();
        // SAFETY: the handle is open; the texts, and the names that `raw` points to, outlive the
        // call.
        let handle = unsafe {
            let (text, function) = (text.as_ptr(), function.as_ptr());
            (self.library.compile)(
                self.handle.as_ptr(),
                text,
                function,
                raw.as_ptr(),
                raw.len(),
            )
        };
        self.kernel(handle)
    }

    fn kernel(self: &Arc<Self>, handle: Handle) -> Result<Kernel, Error> {
        let handle = NonNull::new(handle).ok_or_else(|| self.library.failure())?;
        Ok(Kernel {
            device: self.clone(),
            handle,
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once.
        unsafe { (self.library.close)(self.handle.as_ptr()) }
    }
}

/// A kernel on its device.
pub struct Kernel {
    device: Arc<Device>,
    handle: NonNull<c_void>,
}

// SAFETY: a pipeline is immutable after it was made.
unsafe impl Send for Kernel {}
unsafe impl Sync for Kernel {}

/// Memory for one dispatch, by the kernel's buffer index.
pub enum Binding<'a> {
    Read(u32, &'a [f32]),
    Write(u32, &'a mut [f32]),
    /// Copied.
    Bytes(u32, &'a [u8]),
}

impl Binding<'_> {
    fn raw(&mut self) -> RawBinding {
        let (index, kind, data, bytes) = match self {
            Self::Read(index, data) => (
                *index,
                1,
                data.as_ptr().cast_mut().cast(),
                size_of_val(*data),
            ),
            Self::Write(index, data) => (*index, 2, data.as_mut_ptr().cast(), size_of_val(*data)),
            Self::Bytes(index, data) => (*index, 3, data.as_ptr().cast_mut().cast(), data.len()),
        };
        RawBinding {
            index,
            kind,
            buffer: ptr::null_mut(),
            offset: 0,
            data,
            bytes: bytes as u64,
        }
    }
}

impl Kernel {
    /// Run the kernel to its end; returns the device's own time in microseconds.
    ///
    /// # Safety
    /// With these parameters the kernel must stay inside the bound memory: the device checks
    /// that everything is bound and not smaller than one element, not what is read.
    pub unsafe fn run(
        &self,
        threadgroups: [u32; 3],
        threads: [u32; 3],
        bindings: &mut [Binding<'_>],
    ) -> Result<f64, Error> {
        let raw: Vec<RawBinding> = bindings.iter_mut().map(Binding::raw).collect();
        let dispatch = RawDispatch {
            threadgroups,
            threads,
            bindings: raw.as_ptr(),
            binding_count: raw.len(),
        };
        let mut gpu_us = 0.0;
        let library = &self.device.library;
        // SAFETY: the handles are open, the borrows in `bindings` outlive the call, which
        // returns when the device is done with them.
        let failed = unsafe {
            let (device, kernel) = (self.device.handle.as_ptr(), self.handle.as_ptr());
            (library.run)(device, kernel, &dispatch, &mut gpu_us)
        };
        if failed == 0 {
            Ok(gpu_us)
        } else {
            Err(library.failure())
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: loaded once, released once.
        unsafe { (self.device.library.release_kernel)(self.handle.as_ptr()) }
    }
}
