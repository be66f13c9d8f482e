//! Bands and variance partitions of a study.

use super::keys::nearest;
use super::section::Section;
use super::settings::{Columns, SpaceKind, SpaceSettings};
use crate::error::Result;
use crate::results::Name;
use crate::ridge::BandSampling;

/// Most spaces of a partition: 15 models.
const MOST_SPACES: usize = 4;

/// `[bands]`.
pub(crate) fn sampling(section: &Section<'_>) -> Result<BandSampling> {
    let default = BandSampling::default();
    let concentration = match section.get("concentration") {
        None => default.concentration,
        Some(value) => {
            let wrong = || section.error("concentration", "a list of numbers", value);
            let number = |value: &toml::Value| {
                value.as_float().or_else(|| value.as_integer().map(|i| i as f64)).ok_or_else(wrong)
            };
            value.as_array().ok_or_else(wrong)?.iter().map(number).collect::<Result<_>>()?
        }
    };
    let sampling = BandSampling {
        n_iter: section.count("n_iter")?.unwrap_or(default.n_iter),
        seed: section.count("seed")?.map_or(default.seed, |seed| seed as u64),
        concentration,
    };
    match sampling.check() {
        Ok(()) => Ok(sampling),
        Err((key, problem)) => {
            let problem = problem.strip_prefix("expected ").unwrap_or(&problem);
            let (expected, got) = problem.split_once(", got ").unwrap_or((problem, ""));
            Err(section.error(key, expected, got))
        }
    }
}

/// `banded` of a `[[space]]`.
pub(crate) fn is_banded(section: &Section<'_>) -> Result<bool> {
    let is_banded = section.flag("banded", false)?;
    if is_banded && !section.has("combine") {
        return Err(section.error("banded", "combine beside it", "none"));
    }
    Ok(is_banded)
}

/// Adds, for every fitted space that has something beside the columns of `[partition] beyond`, the
/// space of both together.
pub(crate) fn add_beyond(section: &Section<'_>, spaces: &mut Vec<SpaceSettings>) -> Result<()> {
    let Some(name) = section.text("beyond")? else { return Ok(()) };
    let parts = |index: usize, space: &SpaceSettings| match &space.kind {
        SpaceKind::Combine(parts) => parts.clone(),
        _ => vec![index],
    };
    let is_plain = |space: &SpaceSettings| space.fit && space.columns == Columns::Alike;
    let known = spaces.iter().map(|space| space.name.as_str());
    let Some(base) = spaces.iter().position(|space| space.name == name) else {
        let near = nearest(name, known).map_or(String::new(), |near| format!(" ({near:?}?)"));
        return Err(section.error("beyond", "the name of a space", format!("{name:?}{near}")));
    };
    if !is_plain(&spaces[base]) {
        let expected = "a space that is fitted, and not banded";
        return Err(section.error("beyond", expected, format!("{name:?}")));
    }
    let of_base = parts(base, &spaces[base]);
    let mut added = Vec::new();
    for (index, space) in spaces.iter().enumerate().filter(|(_, space)| is_plain(space)) {
        let mut all = parts(index, space);
        if all.iter().all(|part| of_base.contains(part)) {
            continue;
        }
        all.extend(of_base.iter().filter(|part| !parts(index, space).contains(part)));
        let name = format!("beyond.{}", space.name);
        if spaces.iter().any(|space| space.name == name) || Name::new(&name).is_err() {
            let expected = "spaces that leave the names beyond.SPACE free, of at most 240 bytes";
            return Err(section.error("beyond", expected, format!("{name:?}")));
        }
        let columns = Columns::Beyond { space: index, base };
        let kind = SpaceKind::Combine(all);
        added.push(SpaceSettings { name, kind, fit: true, columns, member: None });
    }
    if added.is_empty() {
        return Err(section.error(
            "beyond",
            "a space that another one goes beyond",
            format!("{name:?}"),
        ));
    }
    spaces.extend(added);
    Ok(())
}

/// Adds a space for every subset of `[partition] spaces`, the one of all of them first.
pub(crate) fn add_partition(section: &Section<'_>, spaces: &mut Vec<SpaceSettings>) -> Result<()> {
    let Some(names) = section.texts("spaces")? else { return Ok(()) };
    let n = names.len();
    if !(2..=MOST_SPACES).contains(&n) {
        let expected = format!("2 to {MOST_SPACES} spaces");
        return Err(section.error("spaces", &expected, n));
    }
    let mut parts: Vec<usize> = Vec::new();
    for name in &names {
        let known = spaces.iter().map(|space| space.name.as_str());
        let Some(index) = spaces.iter().position(|space| space.name == *name) else {
            let near = nearest(name, known).map_or(String::new(), |near| format!(" ({near:?}?)"));
            return Err(section.error("spaces", "names of spaces", format!("{name:?}{near}")));
        };
        if matches!(spaces[index].kind, SpaceKind::Combine(_)) || parts.contains(&index) {
            let expected = "spaces that are no combinations, each once";
            return Err(section.error("spaces", expected, format!("{name:?}")));
        }
        parts.push(index);
    }
    let of = spaces.len();
    for subset in (1..1usize << n).rev() {
        let kept: Vec<bool> = (0..n).map(|i| subset >> i & 1 == 1).collect();
        let own = || (0..n).filter(|&i| kept[i]);
        let label: Vec<&str> = own().map(|i| names[i].as_str()).collect();
        let name = format!("partition.{}", label.join("+"));
        if spaces.iter().any(|space| space.name == name) || Name::new(&name).is_err() {
            let expected = "spaces whose partition has names of its own, of at most 240 bytes";
            return Err(section.error("spaces", expected, format!("{name:?}")));
        }
        spaces.push(SpaceSettings {
            name,
            kind: SpaceKind::Combine(own().map(|i| parts[i]).collect()),
            fit: true,
            columns: Columns::Part { of, kept },
            member: None,
        });
    }
    Ok(())
}
