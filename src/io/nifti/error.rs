//! Every way in which a NIfTI file can be wrong.

use std::path::PathBuf;

/// Why a NIfTI file is refused; `Error::Nifti` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NiftiError {
    /// The file does not start with the length of a NIfTI header, or has not its magic bytes.
    #[error(
        "not a NIfTI file in one part (.nii, .nii.gz): {problem}; \
         convert it with nibabel.load(...).to_filename(\"x.nii.gz\")"
    )]
    NotNifti {
        /// What was found in place of it.
        problem: String,
    },
    /// The file ends inside its header.
    #[error(
        "truncated: the file ends at byte {n_bytes} of its {expected} byte header; copy it again"
    )]
    TruncatedHeader {
        /// Bytes that are there.
        n_bytes: usize,
        /// Bytes of the header.
        expected: usize,
    },
    /// Sizes that no image has.
    #[error("dimensions {dim:?} are impossible: {problem}; the file is damaged")]
    Dims {
        /// As in the header: their number, then the sizes.
        dim: Vec<i64>,
        /// What is wrong.
        problem: String,
    },
    /// The image has not the number of dimensions that is needed.
    #[error("shape {shape:?}, expected {expected}; {hint}")]
    Shape {
        /// As in the header.
        shape: Vec<usize>,
        /// In words.
        expected: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Complex, colour, bit or long double voxels.
    #[error("datatype {code} ({what}) is not read; save the image as float32")]
    Datatype {
        /// As in the header.
        code: i16,
        /// In words.
        what: &'static str,
    },
    /// Data that would start inside the header.
    #[error(
        "the data are said to start at byte {offset}, expected {least} or more; the file is damaged"
    )]
    Offset {
        /// As in the header.
        offset: f64,
        /// End of header and extension flag.
        least: u64,
    },
    /// A slope without an intercept.
    #[error(
        "scl_slope {slope} with scl_inter {inter}, expected finite numbers; save the image again"
    )]
    Scale {
        /// As in the header.
        slope: f64,
        /// As in the header.
        inter: f64,
    },
    /// Numbers that make no affine.
    #[error("the affine cannot be read: {problem}; save the image again")]
    Affine {
        /// What is wrong.
        problem: String,
    },
    /// The file is shorter than its header says.
    #[error(
        "truncated: shape {shape:?} of {dtype} needs {expected} bytes of data, the file has {got}; \
         copy it again"
    )]
    Truncated {
        /// As in the header.
        shape: Vec<usize>,
        /// As in the header.
        dtype: &'static str,
        /// Bytes the shape needs.
        expected: u64,
        /// Bytes behind the header.
        got: u64,
    },
    /// A gzip file is too short to hold what its header says.
    #[error(
        "shape {shape:?} of {dtype} needs {expected} bytes of data, more than {n_file} bytes of \
         gzip can hold; the file is damaged"
    )]
    GzipTooShort {
        /// As in the header.
        shape: Vec<usize>,
        /// As in the header.
        dtype: &'static str,
        /// Bytes the shape needs.
        expected: u64,
        /// Length of the file.
        n_file: u64,
    },
    /// A mask without voxels.
    #[error("the mask has no voxel that is not 0; give the mask of the voxels to fit")]
    EmptyMask,
    /// A mask that is no mask.
    #[error("the mask has {n_nan} voxels of NaN, expected 0 outside and 1 inside; save it so")]
    MaskNan {
        /// How many.
        n_nan: usize,
    },
    /// Mask and image have other grids.
    #[error(
        "grid {got:?}, expected {expected:?} as the mask ({}) has; resample one of them",
        mask.display()
    )]
    Grid {
        /// Of the mask.
        expected: [usize; 3],
        /// Of the image.
        got: [usize; 3],
        /// The mask.
        mask: PathBuf,
    },
    /// Mask and image lie elsewhere in space.
    #[error(
        "the affine differs from that of the mask ({}) by up to {difference} mm; \
         resample one of them, or save both with one affine",
        mask.display()
    )]
    OtherAffine {
        /// Largest difference of an entry.
        difference: f64,
        /// The mask.
        mask: PathBuf,
    },
    /// A CIFTI file of something else than time series, or with axes that do not fit.
    #[error("CIFTI: {problem}; give the .dtseries.nii or .ptseries.nii of the story")]
    Cifti {
        /// What is wrong: expected and got.
        problem: String,
    },
}
