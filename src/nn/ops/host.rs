//! What every fused operation of the CPU needs: tensors as slices, work in parts whose order never
//! changes.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};
use rayon::prelude::*;

/// Parts of a sum over tokens or pieces, whatever the number of threads: sums come out the same,
/// bit for bit.
const PARTS: usize = 16;

/// Numbers of one task.
const BLOCK: usize = 1 << 14;

/// The numbers of a contiguous tensor of f32.
pub fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("expected a contiguous tensor, got {layout:?}");
    };
    match storage {
        CpuStorage::F32(values) => Ok(&values[start..end]),
        _ => candle_core::bail!("expected f32"),
    }
}

struct Values<G> {
    storage: G,
    range: Range<usize>,
}

impl<G: Deref<Target = Storage>> Deref for Values<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => &[], // `values` lets no other pass
        }
    }
}

/// The numbers of a contiguous tensor of f32 on the CPU, locked for reading.
pub fn values(tensor: &Tensor) -> Result<impl Deref<Target = [f32]> + Sync + '_> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("expected a contiguous tensor, got {layout:?}");
    };
    match &*storage {
        Storage::Cpu(CpuStorage::F32(_)) => {}
        _ => candle_core::bail!("expected f32 on the CPU"),
    }
    Ok(Values { storage, range: start..end })
}

/// Sum of `n` numbers over items `0..n_items`: `add` adds some items to sums, in their order.
///
/// Items are dealt to a fixed number of parts, so the order of every addition is the same on any
/// number of threads.
pub fn sum_over(
    n_items: usize,
    n: usize,
    add: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let size = part_size(n_items, 1);
    let parts: Vec<Vec<f32>> = (0..n_items.div_ceil(size))
        .into_par_iter()
        .map(|part| {
            let mut sums = vec![0.0; n];
            add(part * size..((part + 1) * size).min(n_items), &mut sums);
            sums
        })
        .collect();
    add_all(parts)
}

/// The ranges of 16 parts of `0..n`, each a multiple of `step` but for the last.
pub fn part_size(n: usize, step: usize) -> usize {
    n.div_ceil(step).div_ceil(PARTS).max(1) * step
}

/// The sum of several, in their order.
pub fn add_all(parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut sums = parts.next().unwrap_or_default();
    let rest: Vec<Vec<f32>> = parts.collect();
    sums.par_chunks_mut(BLOCK).enumerate().for_each(|(i, sums)| {
        for part in &rest {
            for (sum, x) in sums.iter_mut().zip(&part[i * BLOCK..]) {
                *sum += x;
            }
        }
    });
    sums
}
