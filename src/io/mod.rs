//! Bytes in, plain values out: the file formats. Knows formats, not stories.
//!
//! A file is hostile until read: sizes are checked against the file's length and a stated limit
//! before anything is allocated. Every way a file can be wrong has a variant in its format's
//! error enum, wrapped with the path by [`crate::error::Error`].
//!
//! | module | reads | writes |
//! |---|---|---|
//! | [`file_kind`] | what a file is, by its first bytes | |
//! | [`gifti`] | one value per vertex and TR | |
//! | [`confounds`] | TSV and CSV of confounds, one row per TR | |
//! | [`input`] | plain, gzip, one member of a zip | |
//! | [`hdf5`] | one matrix of an HDF5 file | |
//! | [`matrix_file`] | a matrix in any of these formats, in column tiles | |
//! | [`output`] | | any file, under a temporary name first |
//! | [`npy`] | NumPy arrays, whole or in column tiles | the same |
//! | [`nifti`] | NIfTI-1 and -2, plain or gzip: masks, 4-D BOLD through a mask; CIFTI time series | one volume |
//! | [`npz`] | one array of a `.npz`; with [`sparse`] one of SciPy's sparse matrices | |
//! | [`safetensors`] | | f32 matrices in column tiles |
//! | [`pickle`] | the lab's `raw_text.pkl`, dicts of arrays by pickle and joblib, nothing executed | |
//! | [`kinds`] | nothing: says what a file is that was not asked for | |
//! | [`table`] | cells of TSV, CSV and R's tables | |
//! | [`text`] | UTF-8, UTF-16 and Windows-1252 | |
//! | [`textgrid`] | Praat's TextGrid text files | |
//! | [`transcript`] | JSON of gentle, WhisperX and Whisper | |
//! | [`word_vectors`] | word2vec binary and text, GloVe text | |

pub mod confounds;
pub mod file_kind;
pub mod gifti;
pub mod hdf5;
pub mod input;
pub mod kinds;
pub mod matrix_file;
pub mod nifti;
pub mod npy;
pub mod npz;
pub mod output;
pub mod pickle;
pub mod row_file;
pub mod safetensors;
pub mod sparse;
pub mod table;
pub mod text;
pub mod textgrid;
pub mod transcript;
pub mod word_vectors;
mod xml;
mod zip_directory;

#[cfg(test)]
pub(crate) mod shared_data;
