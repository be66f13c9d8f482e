//! `[split]`: which stories are held out, and what is held out as one.

use super::language::ModelSource;
use super::section::{Section, at_least_one, at_most};
use super::settings::{Inner, SpaceKind, SpaceSettings, SplitHow, Stability, Study, Units};
use crate::design::trim::Trim;
use crate::design::zscore::ZScoreMode;
use crate::error::{Error, Result};

/// How test stories are taken.
pub fn split_how(split: &Section<'_>) -> Result<SplitHow> {
    let given: Vec<&str> =
        ["test_fraction", "n_test", "test"].into_iter().filter(|key| split.has(key)).collect();
    if given.len() > 1 {
        let got = given.join(" and ");
        return Err(split.error(given[1], "one of test_fraction, n_test and test", got));
    }
    if let Some(names) = split.texts("test")? {
        if names.is_empty() {
            return Err(split.error("test", "at least one story", "an empty list"));
        }
        return Ok(SplitHow::Names(names));
    }
    if let Some(n) = at_least_one(split, "n_test")? {
        return Ok(SplitHow::Count(n));
    }
    match split.number("test_fraction")?.unwrap_or(0.2) {
        share if share > 0.0 && share < 1.0 => Ok(SplitHow::Fraction(share)),
        other => Err(split.error("test_fraction", "more than 0 and less than 1", other)),
    }
}

/// What is held out together, and by whom.
pub fn units(split: &Section<'_>) -> Result<Units> {
    let default = Units::SHARED_STORIES;
    let by_block = split.word("unit", &[("story", false), ("block", true)], false)?;
    if let Some(key) = ["block_trs", "gap_trs"].into_iter().find(|key| !by_block && split.has(key))
    {
        return Err(split.error(key, "unit = \"block\" beside it", "unit = \"story\""));
    }
    let gap_trs = at_most(split, "gap_trs", default.gap_trs, 10_000)?;
    let block_trs = match split.count("block_trs")? {
        Some(n) if !(2..=100_000).contains(&n) => {
            return Err(split.error("block_trs", "2 to 100000", n));
        }
        other => other.unwrap_or(default.block_trs),
    };
    let own = split.word("stories", &[("shared", false), ("own", true)], false)?;
    Ok(Units { own, by_block, block_trs, gap_trs })
}

/// Whether test scores are given without the edges of the stories too.
pub fn inner(split: &Section<'_>) -> Result<Inner> {
    match split.text("inner")? {
        None | Some("auto") => Ok(Inner::Auto),
        Some("none") => Ok(Inner::Off),
        Some(text) => {
            let expected = "HEAD:TAIL such as \"40:20\", \"auto\" or \"none\"";
            let edges = text.parse::<Trim>();
            edges.map(Inner::Edges).map_err(|_| split.error("inner", expected, text))
        }
    }
}

/// Refuses what is not defined for blocks, or for subjects with stories of their own.
pub fn check_units(name: &str, study: &Study) -> Result<()> {
    let Units { own, by_block, .. } = study.units;
    let is_trained_here = |space: &SpaceSettings| match &space.kind {
        SpaceKind::Encoder(space) => !matches!(space.model, ModelSource::Folder(_)),
        _ => false,
    };
    let Stability { splits, learning_curve } = study.stability;
    let has_more_fits = splits > 0 || learning_curve > 0;
    let fault = if own && has_more_fits {
        ("[stability]", "splits and learning_curve need stories = \"shared\" in [split]")
    } else if by_block && has_more_fits {
        ("[stability]", "splits and learning_curve need unit = \"story\" in [split]")
    } else if by_block && matches!(study.inner, Inner::Edges(_)) {
        ("[split], inner", "the edges are those of stories: it needs unit = \"story\"")
    } else if by_block && study.delays_cross_stories {
        ("[design], delay_preset", "\"huth-stacked\" needs unit = \"story\" in [split]")
    } else if by_block && study.zscore == ZScoreMode::Train {
        ("[design], zscore", "\"train\" needs unit = \"story\" in [split]")
    } else if by_block && study.spaces.iter().any(is_trained_here) {
        let problem = "an encoder that is trained here would read the test blocks' words: with \
                       unit = \"block\" it needs model = a folder";
        ("[[space]], encoder", problem)
    } else {
        return Ok(());
    };
    let (place, problem) = fault;
    Err(Error::Usage {
        place: format!("{name}: {place}"),
        problem: problem.into(),
        hint: "change one of the two".into(),
    })
}
