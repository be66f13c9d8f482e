//! Phones of the TextGrids that stories were read from.

use super::error::StoriesError;
use super::marks::is_mark;
use super::story::Story;
use super::tiers::{choose_phones, is_arpabet_vowel};
use super::units::TimeUnit;
use crate::error::{Error, Result};
use crate::io::{table, textgrid};

/// The phones of a story, in the order of their beginnings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Phones {
    /// Without stress: `AH0` is `AH`.
    pub labels: Vec<String>,
    /// Start of each.
    pub onset_s: Vec<f64>,
    /// Middle of each.
    pub mid_s: Vec<f64>,
}

/// Reads the phones of a story; silences and other marks are none.
/// # Errors
/// `Error::Values` for a story that comes from no TextGrid; `Error::Stories` where the tier of
/// phones is not there or not known; those of the file.
pub fn read_phones(story: &Story, tier: Option<&str>) -> Result<Phones> {
    let path = &story.source.path;
    let Some(words) = &story.source.tier else {
        return Err(Error::Values {
            place: format!("story {:?}", story.name),
            problem: format!(
                "expected a TextGrid with phones, its words are from {}, which is none",
                path.display()
            ),
            hint: "kind = \"phones\" needs stories as TextGrids with a tier of phones".into(),
        });
    };
    let bytes = table::read_bytes(path, table::MAX_BYTES)?;
    let grid =
        textgrid::parse(&bytes).map_err(|source| Error::TextGrid { path: path.clone(), source })?;
    let index = choose_phones(&grid.tiers, tier, words).map_err(|source| Error::Stories {
        path: path.clone(),
        source: StoriesError::Tier(source),
    })?;
    let unit = story.source.unit.unwrap_or(TimeUnit::SECONDS);
    let mut found: Vec<(f64, f64, &str)> = grid.tiers[index]
        .intervals
        .iter()
        .filter(|interval| {
            !matches!(interval.text.as_str(), "" | "n/a") && !is_mark(&interval.text)
        })
        .map(|interval| {
            let (start, end) = (unit.to_seconds(interval.start_s), unit.to_seconds(interval.end_s));
            (start, 0.5 * start + 0.5 * end, interval.text.as_str())
        })
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(Phones {
        labels: found.iter().map(|(_, _, label)| without_stress(label).to_owned()).collect(),
        onset_s: found.iter().map(|phone| phone.0).collect(),
        mid_s: found.iter().map(|phone| phone.1).collect(),
    })
}

/// Whether a story comes from a TextGrid whose phones can be found by the name of their tier.
pub fn has_phones(story: &Story) -> bool {
    read_phones(story, None).is_ok_and(|phones| !phones.labels.is_empty())
}

/// ARPAbet's vowels without their last digit; other alphabets use digits as letters.
fn without_stress(label: &str) -> &str {
    match is_arpabet_vowel(label) {
        true => &label[..2],
        false => label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stress_is_taken_off_vowels_of_arpabet_alone() {
        for (label, bare) in
            [("AH0", "AH"), ("iy1", "iy"), ("DH", "DH"), ("2:", "2:"), ("e9", "e9")]
        {
            assert_eq!(without_stress(label), bare);
        }
    }
}
