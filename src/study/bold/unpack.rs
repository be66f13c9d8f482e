//! Compressed BOLD, unpacked once before anything reads tiles of it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::reporter::Reporter;
use crate::stimuli::Story;
use crate::study::inputs::{Subject, check_has_values};
use crate::study::story_bold::StoryBold;

/// Unpacks every packed file of every subject into files without a name in `folder`, several at a
/// time; whether there were any.
///
/// They are gone when the process ends: a run that goes on unpacks them again.
/// # Errors
/// Those of the files; `Error::Write` if the disk is full; `Error::Interrupted`.
pub fn unpack(
    subjects: &mut [Subject],
    stories: &[Story],
    folder: &Path,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<bool> {
    let is_packed = |bold: &&mut StoryBold| bold.file.is_packed();
    let mut any = false;
    for subject in subjects {
        let Subject { name, files, repeats, heard, .. } = subject;
        let stories = || heard.iter().map(|&story| &stories[story]);
        let means = files.iter_mut().zip(stories());
        let more = repeats.iter_mut().zip(stories());
        let more = more.flat_map(|(files, story)| files.iter_mut().map(move |file| (file, story)));
        let packed: Vec<_> = means.chain(more).filter(|(bold, _)| is_packed(bold)).collect();
        any |= !packed.is_empty();
        let n_values: usize =
            packed.iter().map(|(bold, _)| bold.file.n_rows() * bold.n_cols()).sum();
        if !packed.is_empty() {
            reporter.note(&format!(
                "{name}: unpacking {} compressed files, {:.2} GiB on disk while the run lasts",
                packed.len(),
                n_values as f64 * 4.0 / f64::from(1 << 30)
            ));
        }
        packed.into_par_iter().try_for_each(|(bold, story)| {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            bold.file.unpack(folder, false)?;
            check_has_values(&bold.file, name, &story.name)
        })?;
        // Of stories whose file holds the single measurements in place of their mean.
        for (file, repeats) in files.iter().zip(repeats) {
            if repeats.is_empty() {
                *repeats = file.file.repeats()?.into_iter().map(|f| file.repeat(f)).collect();
            }
        }
    }
    Ok(any)
}
