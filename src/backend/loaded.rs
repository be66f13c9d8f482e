//! A problem on the devices that were chosen, and engines over it.

use super::cpu::CpuEngine;
use super::device::Device;
use super::{Engine, Problem};
use crate::error::Result;

/// A problem where engines can work on it.
pub enum Loaded<'p> {
    /// In host memory.
    Cpu(&'p Problem),
    /// In the memory of each card.
    #[cfg(feature = "cuda")]
    Cuda(Vec<std::sync::Arc<super::gpu::GpuProblem<'p>>>),
}

impl<'p> Loaded<'p> {
    /// Copies what does not depend on BOLD to where it is needed.
    /// # Errors
    /// `Error::Device`, `Error::DeviceMemory` for a card.
    pub fn new(problem: &'p Problem, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => Ok(Self::Cpu(problem)),
            #[cfg(feature = "cuda")]
            Device::Cuda { ordinals, precision } => {
                use super::gpu::{GpuProblem, launch::Card};
                let load = |&ordinal: &usize| {
                    let card = Card::open(ordinal)?;
                    GpuProblem::new(problem, card, *precision).map(std::sync::Arc::new)
                };
                Ok(Self::Cuda(ordinals.iter().map(load).collect::<Result<_>>()?))
            }
        }
    }

    /// An engine for a worker; workers of a card share its problem.
    /// # Errors
    /// `Error::Device`, `Error::DeviceMemory` for a card.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
    pub fn engine(&self, worker: usize) -> Result<Box<dyn Engine + '_>> {
        match self {
            Self::Cpu(problem) => Ok(Box::new(CpuEngine::new(problem))),
            #[cfg(feature = "cuda")]
            Self::Cuda(cards) => {
                Ok(Box::new(super::gpu::GpuEngine::new(&cards[worker % cards.len()])?))
            }
        }
    }
}

/// Workers, each with an engine of its own: the threads of the CPU, or two for each card.
pub fn n_workers(device: &Device, n_threads: usize) -> usize {
    match device {
        Device::Cpu => n_threads,
        #[cfg(feature = "cuda")]
        Device::Cuda { ordinals, .. } => ordinals.len() * super::gpu::ENGINES_PER_CARD,
    }
}
