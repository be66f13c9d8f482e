//! The matrix of one file: where it lies, which way round, and how it is unpacked.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::gifti::GiftiFile;
use crate::io::nifti::{CiftiFile, ColumnNames, MaskedBold};
use crate::io::npy::{Dtype, Kind, NpyFile, decode};
use crate::io::pickle::PickledArray;
use crate::io::sparse::SparseFile;
use crate::io::{hdf5, npz};

/// Values of repeats that are averaged at a time.
const STEP_VALUES: usize = 64 << 10;

/// One file's matrix.
#[derive(Debug)]
pub(super) struct Part {
    source: Source,
    /// The file's axes are in the opposite order, all of them (MATLAB).
    is_column_major: bool,
    /// Rows and columns change places, as they were saved.
    is_turned: bool,
    tr_s: Option<f64>,
    is_cifti: bool,
}

#[derive(Debug)]
pub(super) enum Source {
    /// As it is read: rows, columns.
    Tiles(NpyFile),
    /// The mean of these is read.
    Mean(Vec<NpyFile>),
    Hdf5(hdf5::Packed),
    Npz(npz::Deflated),
    Sparse(SparseFile),
    Nifti(Box<MaskedBold>),
    Cifti(Box<CiftiFile>),
    Gifti(GiftiFile),
    Pickled(PickledArray),
}

impl Source {
    pub(super) fn of_hdf5(found: hdf5::Found) -> Source {
        match found {
            hdf5::Found::Contiguous(file) => Source::Tiles(file),
            hdf5::Found::Packed(file) => Source::Hdf5(file),
        }
    }

    /// The file's own axes, outermost first.
    fn shape(&self) -> Vec<usize> {
        match self {
            Source::Tiles(file) => file.shape().to_vec(),
            Source::Mean(slabs) => slabs[0].shape().to_vec(),
            Source::Hdf5(file) => file.shape().to_vec(),
            Source::Npz(file) => file.shape.clone(),
            Source::Sparse(file) => file.shape(),
            Source::Nifti(file) => vec![file.n_rows(), file.n_cols()],
            Source::Cifti(file) => file.shape(),
            Source::Gifti(file) => file.shape(),
            Source::Pickled(file) => file.shape().to_vec(),
        }
    }
}

pub(super) fn not_unpacked(path: &Path) -> Error {
    Error::Numerical {
        what: path.display().to_string(),
        problem: "was not unpacked; this is a fault of voxelcast, please report it".into(),
    }
}

impl Part {
    pub(super) fn of_hdf5(found: hdf5::Found) -> Result<Part> {
        Part::new(Source::of_hdf5(found), false, false, false)
    }

    /// `source`: of one, two or (with `may_repeat`) three axes; what can be read where it lies is
    /// made ready.
    pub(super) fn new(
        source: Source,
        is_column_major: bool,
        is_turned: bool,
        may_repeat: bool,
    ) -> Result<Part> {
        let (tr_s, is_cifti) = match &source {
            Source::Nifti(file) => (file.tr_s(), false),
            Source::Cifti(file) => (file.tr_s(), true),
            _ => (None, false),
        };
        let in_place = match &source {
            Source::Cifti(file) => file.in_place()?,
            Source::Pickled(file) => file.in_place()?,
            _ => None,
        };
        let source = in_place.map_or(source, Source::Tiles);
        let mut part = Part { source, is_column_major, is_turned, tr_s, is_cifti };
        part.check_axes(may_repeat)?;
        if let Source::Tiles(file) = part.source {
            part.source = settled(file, is_column_major, is_turned)?;
        }
        Ok(part)
    }

    fn check_axes(&self, may_repeat: bool) -> Result<()> {
        let shape = self.source.shape();
        if matches!(shape.len(), 1 | 2) || (shape.len() == 3 && may_repeat && shape[0] > 0) {
            return Ok(());
        }
        if let Source::Tiles(file) = &self.source {
            file.check_matrix()?;
        }
        Err(Error::Shape {
            what: self.path().display().to_string(),
            expected: match may_repeat {
                true => "(rows, columns), or (repeats, rows, columns)".into(),
                false => "(rows, columns)".into(),
            },
            got: format!("{shape:?}"),
            hint: "reshape it before saving".into(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        match &self.source {
            Source::Tiles(file) => file.path(),
            Source::Mean(slabs) => slabs[0].path(),
            Source::Hdf5(file) => file.path(),
            Source::Npz(file) => file.path(),
            Source::Sparse(file) => file.path(),
            Source::Nifti(file) => file.path(),
            Source::Cifti(file) => file.path(),
            Source::Gifti(file) => file.path(),
            Source::Pickled(file) => file.path(),
        }
    }

    /// Rows and columns as they are read.
    fn sides(&self) -> (usize, usize) {
        let mut shape = self.source.shape();
        let is_settled = matches!(self.source, Source::Tiles(_) | Source::Mean(_));
        if self.is_column_major && !is_settled {
            shape.reverse();
        }
        let is_turned = self.is_turned && !is_settled;
        match shape[..] {
            [n_rows] => (n_rows, 1),
            [n_rows, n_cols] | [_, n_rows, n_cols] if !is_turned => (n_rows, n_cols),
            [n_cols, n_rows] | [_, n_cols, n_rows] => (n_rows, n_cols),
            _ => (0, 0),
        }
    }

    pub(super) fn n_rows(&self) -> usize {
        self.sides().0
    }

    pub(super) fn n_cols(&self) -> usize {
        self.sides().1
    }

    pub(super) fn tr_s(&self) -> Option<f64> {
        self.tr_s
    }

    pub(super) fn column_names(&self) -> Result<Option<ColumnNames>> {
        match self.is_cifti && !self.is_turned {
            true => CiftiFile::column_names(self.path()),
            false => Ok(None),
        }
    }

    pub(super) fn n_repeats(&self) -> Option<usize> {
        match &self.source {
            Source::Mean(slabs) => Some(slabs.len()),
            Source::Tiles(_) => None,
            packed => {
                let shape = packed.shape();
                let first = if self.is_column_major { shape.last() } else { shape.first() };
                first.copied().filter(|_| shape.len() == 3)
            }
        }
    }

    pub(super) fn repeats(&self) -> Result<Vec<Part>> {
        let Source::Mean(slabs) = &self.source else { return Ok(Vec::new()) };
        let part = |slab: &NpyFile| {
            Ok(Part {
                source: Source::Tiles(slab.try_clone()?),
                is_column_major: false,
                is_turned: false,
                tr_s: self.tr_s,
                is_cifti: false,
            })
        };
        slabs.iter().map(part).collect()
    }

    pub(super) fn is_undirected(&self) -> bool {
        matches!(&self.source, Source::Gifti(file) if file.is_one_matrix())
    }

    pub(super) fn turn(&mut self) {
        self.is_turned = !self.is_turned;
    }

    pub(super) fn is_packed(&self) -> bool {
        !matches!(self.source, Source::Tiles(_) | Source::Mean(_))
    }

    pub(super) fn tiles(&self) -> Option<&NpyFile> {
        match &self.source {
            Source::Tiles(file) => Some(file),
            _ => None,
        }
    }

    pub(super) fn read_columns(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
        out: &mut [f32],
    ) -> Result<()> {
        match &self.source {
            Source::Tiles(file) => file.read_columns(rows, cols, out),
            Source::Mean(slabs) => read_mean(slabs, rows, cols, out),
            _ => Err(not_unpacked(self.path())),
        }
    }

    pub(super) fn expect_columns(&self, rows: Range<usize>, cols: Range<usize>) {
        match &self.source {
            Source::Tiles(file) => file.expect_columns(rows, cols),
            Source::Mean(slabs) => {
                slabs.iter().for_each(|file| file.expect_columns(rows.clone(), cols.clone()));
            }
            _ => {}
        }
    }

    pub(super) fn unpack(&mut self, folder: &Path, keep_f64: bool) -> Result<()> {
        let write_error = |source| Error::Write { path: folder.to_owned(), source };
        let scratch = || tempfile::tempfile_in(folder).map_err(write_error);
        let sides = self.sides();
        let file = match &self.source {
            Source::Tiles(_) | Source::Mean(_) => return Ok(()),
            Source::Npz(file) => file.unpack(scratch()?)?,
            Source::Sparse(file) => file.unpack(scratch()?, folder)?,
            Source::Cifti(file) => file.unpack(scratch()?)?,
            Source::Gifti(file) => file.unpack(scratch()?)?,
            Source::Pickled(file) => file.unpack(folder)?,
            Source::Hdf5(file) => unpack_hdf5(file, scratch()?, folder, keep_f64)?,
            Source::Nifti(file) => unpack_nifti(file, scratch()?, folder)?,
        };
        self.source = settled(file, self.is_column_major, self.is_turned)?;
        match self.sides() == sides {
            true => Ok(()),
            false => Err(Error::Shape {
                what: self.path().display().to_string(),
                expected: format!("{sides:?} as its header said"),
                got: format!("{:?}", self.sides()),
                hint: "the file was changed while it was read".into(),
            }),
        }
    }
}

/// An array that can be read where it lies, the way round that is wanted; of three axes the mean.
fn settled(file: NpyFile, is_column_major: bool, is_turned: bool) -> Result<Source> {
    let file = if is_column_major { file.transposed() } else { file };
    let turned = |file: NpyFile| if is_turned { file.transposed() } else { file };
    if file.shape().len() != 3 {
        file.check_matrix()?;
        return Ok(Source::Tiles(turned(file)));
    }
    let mut slabs: Vec<NpyFile> = file.slabs()?.into_iter().map(turned).collect();
    Ok(match slabs.len() {
        1 => Source::Tiles(slabs.remove(0)),
        _ => Source::Mean(slabs),
    })
}

fn read_mean(
    slabs: &[NpyFile],
    rows: Range<usize>,
    cols: Range<usize>,
    out: &mut [f32],
) -> Result<()> {
    let width = cols.len();
    if width == 0 || rows.len().checked_mul(width) != Some(out.len()) {
        return slabs[0].read_columns(rows, cols, out); // which says what is wrong
    }
    let step = (STEP_VALUES / width).max(1);
    let mut values = vec![0f32; step.min(rows.len()) * width];
    let mut sums = vec![0f64; values.len()];
    for (start, out) in rows.clone().step_by(step).zip(out.chunks_mut(step * width)) {
        let some = start..(start + step).min(rows.end);
        let (values, sums) = (&mut values[..out.len()], &mut sums[..out.len()]);
        sums.fill(0.0);
        for slab in slabs {
            slab.read_columns(some.clone(), cols.clone(), values)?;
            sums.iter_mut().zip(&*values).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let n = slabs.len() as f64;
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (*sum / n) as f32);
    }
    Ok(())
}

fn unpack_hdf5(
    file: &hdf5::Packed,
    scratch: File,
    folder: &Path,
    keep_f64: bool,
) -> Result<NpyFile> {
    let write_error = |source| Error::Write { path: folder.to_owned(), source };
    let stays = keep_f64 && file.dtype().kind == Kind::F64;
    let mut out = BufWriter::with_capacity(1 << 20, &scratch);
    let mut values = Vec::new();
    file.each_band(&mut |bytes| {
        if stays {
            return out.write_all(bytes).map_err(write_error);
        }
        values.resize(bytes.len() / file.dtype().kind.n_bytes(), 0f32);
        decode(file.dtype(), bytes, &mut values);
        out.write_all(bytemuck::cast_slice(&values)).map_err(write_error)
    })?;
    out.flush().map_err(write_error)?;
    drop(out);
    let dtype = if stays { file.dtype() } else { Dtype::native(Kind::F32) };
    NpyFile::of_elements(scratch, file.path(), 0, dtype, file.shape().to_vec())
}

fn unpack_nifti(file: &MaskedBold, scratch: File, folder: &Path) -> Result<NpyFile> {
    let write_error = |source| Error::Write { path: folder.to_owned(), source };
    let mut out = BufWriter::with_capacity(1 << 20, &scratch);
    let mut values = vec![0f32; file.n_cols()];
    file.each_row(0..file.n_rows(), &mut |_, row| {
        values.iter_mut().zip(row).for_each(|(value, &wide)| *value = wide as f32);
        out.write_all(bytemuck::cast_slice(&values)).map_err(write_error)
    })?;
    out.flush().map_err(write_error)?;
    drop(out);
    let shape = vec![file.n_rows(), file.n_cols()];
    NpyFile::of_elements(scratch, file.path(), 0, Dtype::native(Kind::F32), shape)
}
