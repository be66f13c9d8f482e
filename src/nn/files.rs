//! Files of checkpoints: what stands in their place, and the commands that help.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::file_kind::datalad_get;
use crate::io::input::open_file;
use crate::io::kinds::{FileKind, is_dangling, of_content};

/// Whether the file's name ends in `.gguf`.
pub(super) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("gguf")) && !path.is_dir()
}

/// What is wrong with a path, and what to do.
pub(super) fn values(path: &Path, problem: String, hint: String) -> Error {
    Error::Values { place: path.display().to_string(), problem, hint }
}

/// Names in a folder, sorted, at most 1,000.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(1000);
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What is wrong with a checkpoint folder that lacks model.safetensors.
pub(super) fn no_weights(folder: &Path) -> Error {
    let is_old = |name: &&String| name.starts_with("pytorch_model") && name.ends_with(".bin");
    if let Some(old) = names(folder).iter().find(is_old) {
        return values(
            folder,
            format!("expected model.safetensors, got {old} alone, which can hold any program"),
            format!(
                "write it anew with: python -c \"from transformers import AutoModel as A; \
                 A.from_pretrained('{0}').save_pretrained('{0}')\"",
                folder.display()
            ),
        );
    }
    let missing = std::io::Error::new(
        std::io::ErrorKind::NotFound,
        "expected model.safetensors or model.safetensors.index.json in this folder, found neither",
    );
    Error::Read { path: folder.to_owned(), source: missing }
}

/// Whether something has this name, be it a link to what was not fetched.
pub(super) fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn not_fetched(path: &Path) -> Error {
    values(path, format!("this is {}", FileKind::AnnexPointer.what()), datalad_get(path))
}

/// Refuses what stands for a file that git-annex or Git LFS has not fetched.
pub(super) fn refuse_pointer(path: &Path) -> Result<()> {
    const LONGEST: u64 = 1 << 10;
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    if !is_dangling(path) {
        open_file(path).map_err(fail)?.take(LONGEST).read_to_end(&mut bytes).map_err(fail)?;
    }
    match of_content(&bytes) {
        Some(FileKind::LfsPointer) => {}
        Some(FileKind::AnnexPointer) => return Err(not_fetched(path)),
        None if is_dangling(path) => return Err(not_fetched(path)),
        _ => return Ok(()),
    }
    let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Err(values(
        path,
        "this is a pointer of Git LFS, not the file itself".into(),
        format!("fetch it with: git -C {} lfs pull --include {name}", folder.display()),
    ))
}
