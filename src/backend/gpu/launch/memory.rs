//! Device memory, pinned host memory, copies.

use std::ops::Range;

use cudarc::driver::{
    CudaSlice, CudaStream, CudaView, CudaViewMut, DeviceRepr, HostSlice, PinnedHostSlice,
    SyncOnDrop, ValidAsZeroBits,
};

use super::card::Lane;
use super::grid::product;
use crate::error::Result;

/// Numbers that a card holds: plain bytes, any pattern of which is a value.
pub trait Value: DeviceRepr + ValidAsZeroBits + Copy + Default {}
impl<T: DeviceRepr + ValidAsZeroBits + Copy + Default> Value for T {}

/// Some values of a buffer, to read.
pub type Part<'a, T> = CudaView<'a, T>;
/// Some values of a buffer, to write.
pub type PartMut<'a, T> = CudaViewMut<'a, T>;

/// An array in device memory, freed when it is dropped and the stream has passed.
pub struct Buffer<T>(CudaSlice<T>);

impl<T: Value> Buffer<T> {
    /// Values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Without values. (A buffer has at least one, so that it has an address.)
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The first `n` values.
    pub fn first(&self, n: usize) -> Part<'_, T> {
        self.part(0..n)
    }

    /// The first `n` values, to write.
    pub fn first_mut(&mut self, n: usize) -> PartMut<'_, T> {
        self.part_mut(0..n)
    }

    /// Some values.
    pub fn part(&self, range: Range<usize>) -> Part<'_, T> {
        self.0.slice(range)
    }

    /// Some values, to write.
    pub fn part_mut(&mut self, range: Range<usize>) -> PartMut<'_, T> {
        self.0.slice_mut(range)
    }

    /// All of them.
    pub fn all(&self) -> Part<'_, T> {
        self.0.as_view()
    }
}

/// Pinned host memory through which BOLD goes to the card.
pub struct Staging(PinnedHostSlice<f32>);

impl Lane {
    /// An array whose values are not set.
    /// # Errors
    /// `Error::DeviceMemory`.
    pub fn alloc<T: Value>(&self, what: &str, extents: &[usize]) -> Result<Buffer<T>> {
        let len = product(extents)?.max(1);
        // SAFETY: any bytes are a value of T; nothing reads it before a kernel, a product or a copy
        // has written it (the stand-in driver of the tests reports reads of memory never written).
        let made = unsafe { self.compute.alloc::<T>(len) };
        made.map(Buffer).map_err(|error| match self.card.error(what, error) {
            crate::error::Error::DeviceMemory { .. } => {
                self.card.out_of_memory(what, (len as u64).saturating_mul(size_of::<T>() as u64))
            }
            other => other,
        })
    }

    /// Sets the values of a part to zero.
    /// # Errors
    /// `Error::Device`.
    pub fn zero<T: Value>(&self, part: &mut PartMut<'_, T>) -> Result<()> {
        self.compute.memset_zeros(part).map_err(|e| self.card.error("zeros", e))
    }

    /// A copy of host values.
    /// # Errors
    /// `Error::DeviceMemory`.
    pub fn upload<T: Value>(&self, what: &str, values: &[T]) -> Result<Buffer<T>> {
        let mut made = self.alloc(what, &[values.len()])?;
        if !values.is_empty() {
            self.write(values, &mut made.first_mut(values.len()))?;
        }
        Ok(made)
    }

    /// Copies host values into a part of the same length. The values may change as soon as this
    /// returns: pageable memory is read before.
    /// # Errors
    /// `Error::Device`.
    pub fn write<T: Value>(&self, values: &[T], to: &mut PartMut<'_, T>) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        self.compute.memcpy_htod(values, to).map_err(|e| self.card.error("copy to the card", e))
    }

    /// Copies a part to the host, and waits for it.
    /// # Errors
    /// `Error::Device`, also for what went wrong before.
    pub fn read<T: Value>(&self, from: &Part<'_, T>, to: &mut [T]) -> Result<()> {
        if to.is_empty() {
            return Ok(());
        }
        let copied = self.compute.memcpy_dtoh(from, to).and_then(|()| self.compute.synchronize());
        copied.map_err(|e| self.card.error("copy from the card", e))
    }

    /// As [`Lane::read`], into a vector of `n` values.
    /// # Errors
    /// As `read`.
    pub fn read_vec<T: Value>(&self, from: &Part<'_, T>, n: usize, to: &mut Vec<T>) -> Result<()> {
        to.resize(n, T::default());
        self.read(from, to)
    }

    /// Copies a part on the card.
    /// # Errors
    /// `Error::Device`.
    pub fn copy<T: Value>(&self, from: &Part<'_, T>, to: &mut PartMut<'_, T>) -> Result<()> {
        self.compute.memcpy_dtod(from, to).map_err(|e| self.card.error("copy on the card", e))
    }

    /// Pinned host memory of `len` values.
    /// # Errors
    /// `Error::DeviceMemory` where the system pins no more.
    pub fn staging(&self, len: usize) -> Result<Staging> {
        // SAFETY: any bytes are an f32; every value is written before it is copied. Not write-
        // combined: the caller's rows are copied in by plain stores either way.
        let made = unsafe { self.copies.context().alloc_pinned_with_flags::<f32>(len.max(1), 0) };
        made.map(Staging).map_err(|e| self.card.error("pinned memory", e))
    }

    /// Sends host values to the card on the stream of copies, through pinned memory: waits until
    /// the last copy out of `through` is done, not for anything that is computed.
    /// # Errors
    /// `Error::Device`.
    pub fn send(
        &self,
        values: &[f32],
        through: &mut Staging,
        to: &mut PartMut<'_, f32>,
    ) -> Result<()> {
        let say = |e| self.card.error("copy of BOLD", e);
        let pinned = through.0.as_mut_slice().map_err(say)?;
        pinned[..values.len()].copy_from_slice(values);
        let from = Begin(&through.0, values.len());
        self.copies.memcpy_htod(&from, to).map_err(say)
    }
}

/// The first values of pinned memory.
struct Begin<'a>(&'a PinnedHostSlice<f32>, usize);

impl HostSlice<f32> for Begin<'_> {
    fn len(&self) -> usize {
        self.1
    }

    unsafe fn stream_synced_slice<'a>(
        &'a self,
        stream: &'a CudaStream,
    ) -> (&'a [f32], SyncOnDrop<'a>) {
        // SAFETY: the caller's promise, to keep what is returned until the copy is queued, is the
        // one that is asked for here.
        let (all, guard) = unsafe { self.0.stream_synced_slice(stream) };
        (&all[..self.1], guard)
    }

    unsafe fn stream_synced_mut_slice<'a>(
        &'a mut self,
        _: &'a CudaStream,
    ) -> (&'a mut [f32], SyncOnDrop<'a>) {
        unreachable!("only read")
    }
}
