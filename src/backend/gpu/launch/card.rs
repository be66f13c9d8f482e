//! Cards, their kernels, and the lanes on which an engine works.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cudarc::cublas::CudaBlas;
use cudarc::cublas::result::CublasError;
use cudarc::cublas::sys::cublasStatus_t;
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{CUevent_flags, CUresult};
use cudarc::driver::{CudaContext, CudaEvent, CudaFunction, CudaStream, LaunchArgs, LaunchConfig};
use cudarc::nvrtc::Ptx;

use super::grid::{BLOCK, Grid};
use crate::error::{Error, Result};

/// One fatbin a file of kernels/, made by build.rs: (name, bytes).
const FATBINS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/fatbins.rs"));

/// The functions that are launched; names are unique over all files.
const KERNELS: &[(&str, &[&str])] = &[
    ("correlation", &["pearson_sums_f64", "pearson_block_f32", "pearson_total_f32"]),
    ("delays", &["delay_f32", "densify_f32"]),
    (
        "path",
        &[
            "voxel_inverses_f64",
            "component_sizes_f64",
            "scale_slots_f32",
            "path_numerators_f32",
            "path_squares_f32",
            "row_squares_f32",
            "add_squares_f64",
            "add_scores_f64",
            "select_alpha_f32",
        ],
    ),
    ("permute", &["permute_blocks_f64"]),
    ("refit", &["shrink_f32", "intercepts_f32"]),
    (
        "rotate",
        &[
            "total_xty_f32",
            "center_xty_f32",
            "center_total_f32",
            "center_rows_f32",
            "stack_rows_f32",
        ],
    ),
    ("voxels", &["first_means_f32", "add_voxels_f32", "merge_voxels_f64", "fold_moments_f64"]),
];

/// The oldest compute capability that the kernels are compiled for.
const LEAST_CAPABILITY: (i32, i32) = (7, 5);

/// What a card is, and why it cannot be used if it cannot.
#[derive(Debug, Clone)]
pub struct CardInfo {
    /// N in `cuda:N`.
    pub ordinal: usize,
    /// As the driver calls it.
    pub name: String,
    /// Major and minor compute capability.
    pub capability: (i32, i32),
    /// Bytes of memory.
    pub total_bytes: u64,
    /// Bytes that nobody uses; 0 for a card that cannot be opened.
    pub free_bytes: u64,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

/// Opens the driver and cuBLAS by name: a sentence if one of them is not there.
///
/// cudarc would open them by itself, but panics where they are missing.
pub fn check_libraries() -> Result<(), String> {
    let open = |what: &str, names: &[&str]| {
        for name in names {
            // SAFETY: NVIDIA's libraries (or the stand-ins of the tests) have no initialisers that
            // need anything of us; the handle is kept, so no symbol of it can go away.
            if let Ok(library) = unsafe { libloading::Library::new(*name) } {
                std::mem::forget(library);
                return Ok(());
            }
        }
        Err(format!("{what} ({}) was not found", names[0]))
    };
    open("the NVIDIA driver", &["libcuda.so.1", "libcuda.so"])?;
    open("cuBLAS", &["libcublas.so.13", "libcublas.so"])
}

/// Cards that the driver shows; a sentence if it does not start.
pub fn n_cards() -> Result<usize, String> {
    let count =
        CudaContext::device_count().map_err(|e| format!("the NVIDIA driver: {}", say(e)))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn say(error: DriverError) -> String {
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_else(|_| format!("error {:?}", error.0))
}

/// A card with its kernels loaded; shared by the engines that work on it.
pub struct Card {
    context: Arc<CudaContext>,
    functions: HashMap<&'static str, CudaFunction>,
}

impl Card {
    /// What the driver tells of a card; opens it to see whether that works.
    pub fn info(ordinal: usize) -> CardInfo {
        let mut info = CardInfo {
            ordinal,
            name: "unknown".into(),
            capability: (0, 0),
            total_bytes: 0,
            free_bytes: 0,
            problem: None,
        };
        let mut ask = || -> Result<(), DriverError> {
            let context = CudaContext::new(ordinal)?;
            info.name = context.name()?;
            info.capability = context.compute_capability()?;
            let (free, total) = context.mem_get_info()?;
            (info.free_bytes, info.total_bytes) = (free as u64, total as u64);
            Ok(())
        };
        info.problem = match ask() {
            Err(error) => Some(say(error)),
            Ok(()) if info.capability < LEAST_CAPABILITY => Some(format!(
                "compute capability {}.{}, {}.{} or newer is needed",
                info.capability.0, info.capability.1, LEAST_CAPABILITY.0, LEAST_CAPABILITY.1
            )),
            Ok(()) => None,
        };
        info
    }

    /// Opens a card and loads every kernel.
    /// # Errors
    /// `Error::Device`.
    pub fn open(ordinal: usize) -> Result<Self> {
        let fail = |what: &str, error: DriverError| Error::Device {
            device: format!("cuda:{ordinal}"),
            problem: format!("{what}: {}", say(error)),
            hint: "see voxelcast devices, or use --device cpu".into(),
        };
        let context = CudaContext::new(ordinal).map_err(|e| fail("cannot be opened", e))?;
        let mut functions = HashMap::new();
        for (file, names) in KERNELS {
            let fatbin = FATBINS.iter().find(|(name, _)| name == file).expect("compiled").1;
            let module = context
                .load_module(Ptx::from_binary(fatbin.to_vec()))
                .map_err(|e| fail(&format!("kernels/{file}.cu does not load"), e))?;
            for name in *names {
                let function = module.load_function(name);
                functions.insert(*name, function.map_err(|e| fail(&format!("kernel {name}"), e))?);
            }
        }
        Ok(Self { context, functions })
    }

    /// N in `cuda:N`.
    pub fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// Bytes of device memory that nobody uses.
    /// # Errors
    /// `Error::Device`.
    pub fn free_bytes(&self) -> Result<u64> {
        let (free, _) = self.context.mem_get_info().map_err(|e| self.error("free memory", e))?;
        Ok(free as u64)
    }

    /// A failure of the driver, named after what was done.
    pub(super) fn error(&self, what: &str, error: DriverError) -> Error {
        if error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return self.out_of_memory(what, 0);
        }
        Error::Device {
            device: format!("cuda:{}", self.ordinal()),
            problem: format!("{what}: {}", say(error)),
            hint: "if it comes again, use --device cpu".into(),
        }
    }

    pub(super) fn blas_error(&self, what: &str, error: CublasError) -> Error {
        if error.0 == cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED {
            return self.out_of_memory(what, 0);
        }
        Error::Device {
            device: format!("cuda:{}", self.ordinal()),
            problem: format!("cuBLAS, {what}: {:?}", error.0),
            hint: "if it comes again, use --device cpu".into(),
        }
    }

    pub(super) fn out_of_memory(&self, what: &str, needed: u64) -> Error {
        let free_bytes = self.context.mem_get_info().map_or(0, |(free, _)| free as u64);
        Error::DeviceMemory {
            device: format!("cuda:{}", self.ordinal()),
            what: what.to_owned(),
            needed_bytes: needed,
            free_bytes,
        }
    }
}

/// Two streams of one card and a cuBLAS handle: one for each engine.
pub struct Lane {
    /// The card.
    pub card: Arc<Card>,
    pub(super) compute: Arc<CudaStream>,
    pub(super) copies: Arc<CudaStream>,
    pub(super) blas: CudaBlas,
}

/// A moment of the compute stream.
pub struct Moment(CudaEvent);

impl Lane {
    /// Fresh streams on a card.
    /// # Errors
    /// `Error::Device`; `Error::DeviceMemory` if cuBLAS has no room for itself.
    pub fn new(card: &Arc<Card>) -> Result<Self> {
        let stream = || card.context.new_stream().map_err(|e| card.error("a stream", e));
        let (compute, copies) = (stream()?, stream()?);
        let blas =
            CudaBlas::new(Arc::clone(&compute)).map_err(|e| card.blas_error("a handle", e))?;
        Ok(Self { card: Arc::clone(card), compute, copies, blas })
    }

    /// Waits until everything that was launched is done.
    /// # Errors
    /// What went wrong in any launch before.
    pub fn synchronize(&self) -> Result<()> {
        let wait = |stream: &CudaStream| stream.synchronize();
        wait(&self.copies)
            .and_then(|()| wait(&self.compute))
            .map_err(|e| self.card.error("work that was launched before", e))
    }

    /// The stream of copies waits for what the compute stream was given until now: memory is
    /// allocated in the order of the compute stream, and is not there before.
    /// # Errors
    /// `Error::Device`.
    pub fn order_copies(&self) -> Result<()> {
        self.copies.join(&self.compute).map_err(|e| self.card.error("an event", e))
    }

    /// Marks this moment of the compute stream.
    /// # Errors
    /// `Error::Device`.
    pub fn moment(&self) -> Result<Moment> {
        let event = self.compute.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        event.map(Moment).map_err(|e| self.card.error("an event", e))
    }

    /// Time between two moments; waits for the later one.
    /// # Errors
    /// `Error::Device`.
    pub fn between(&self, from: &Moment, to: &Moment) -> Result<Duration> {
        let ms = from.0.elapsed_ms(&to.0).map_err(|e| self.card.error("an event", e))?;
        Ok(Duration::from_secs_f64(f64::from(ms.max(0.0)) / 1e3))
    }

    pub(super) fn builder(&self, kernel: &'static str) -> LaunchArgs<'_> {
        self.compute.launch_builder(&self.card.functions[kernel])
    }

    /// Launches what the builder holds; nothing for an empty grid.
    ///
    /// # Safety
    /// The arguments are those of the kernel's signature in order and type; every buffer holds the
    /// extents that the kernel reaches under this grid; no output aliases another argument.
    pub(super) unsafe fn launch(
        &self,
        kernel: &'static str,
        builder: &mut LaunchArgs<'_>,
        grid: Grid,
    ) -> Result<()> {
        if grid.is_empty() {
            return Ok(());
        }
        let config =
            LaunchConfig { grid_dim: grid.blocks, block_dim: (BLOCK, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: handed on to the caller, one wrapper a kernel; cudarc keeps buffers alive until
        // the stream has passed them, since they are freed in the order of the stream.
        let launched = unsafe { builder.launch(config) };
        launched.map(|_| ()).map_err(|e| self.card.error(&format!("kernel {kernel}"), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_kernels_is_listed_with_every_function_it_has() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels");
        let listed: Vec<&str> = KERNELS.iter().map(|(file, _)| *file).collect();
        assert_eq!(FATBINS.iter().map(|(file, _)| *file).collect::<Vec<_>>(), listed);
        for (file, names) in KERNELS {
            let text = std::fs::read_to_string(format!("{folder}/{file}.cu")).expect("readable");
            let found: Vec<&str> = text
                .split("extern \"C\" __global__ void ")
                .skip(1)
                .map(|rest| rest.split('(').next().unwrap_or_default())
                .collect();
            let (mut found, mut names) = (found, names.to_vec());
            found.sort_unstable();
            names.sort_unstable();
            assert_eq!(found, names, "{file}.cu");
        }
    }
}
