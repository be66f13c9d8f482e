//! Readers of settings and counts.

use std::path::Path;

use voxelcast::ridge::AlphaGrid;
use voxelcast::study::read_respdict;
use voxelcast::study_file;

use super::{answer, answer_of_settings, bounded, file};

/// STUDY.toml; the same text gives the same study.
pub fn study(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else {
        let path = file("STUDY.toml", data);
        assert!(answer_of_settings(study_file::read(&path)).is_none(), "it is no text");
        return false;
    };
    let read = || answer_of_settings(study_file::from_text(text, Path::new("."), "STUDY.toml"));
    let Some(found) = bounded(data.len(), 2000, read) else { return false };
    assert!(!found.spaces.is_empty());
    let again = read().expect("as before");
    assert_eq!(format!("{found:?}"), format!("{again:?}"));
    true
}

/// respdict.json; written again it says the same.
pub fn respdict(data: &[u8]) -> bool {
    let path = file("respdict.json", data);
    let Some(counts) = bounded(data.len(), 64, || answer(read_respdict(&path))) else {
        return false;
    };
    let text = serde_json::to_vec(&counts).expect("it can be written");
    assert_eq!(read_respdict(&file("copy.json", &text)).expect("it was written"), counts);
    true
}

/// A grid of alphas; its values as a list are the same grid.
pub fn alphas(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let read = || answer_of_settings(text.parse::<AlphaGrid>());
    let Some(grid) = bounded(data.len(), 64, read) else { return false };
    let values = grid.values();
    assert!(values.iter().all(|alpha| alpha.is_finite() && *alpha > 0.0));
    assert!(values.windows(2).all(|pair| pair[0] < pair[1]));
    let list: Vec<String> = values.iter().map(f64::to_string).collect();
    assert_eq!(list.join(",").parse::<AlphaGrid>().expect("it is a list"), grid);
    true
}
