//! The figures: results to drawings. Bins and layout are computed here, results are not.

pub mod alignment;
pub mod alphas;
pub mod axes;
pub mod beyond;
pub mod brain;
pub mod delays;
pub mod encoder;
mod font;
pub mod heat;
pub mod layers;
pub mod paint;
pub mod performance;
mod png;
pub mod raster;
pub mod rows;
pub mod scale;
pub mod standalone;
pub mod statistics;
pub mod stories;
pub mod svg;
pub mod voxels;

use super::ScoreRow;
use super::data::Results;
use raster::Raster;
use svg::Svg;

/// Width of a drawing that stands beside another.
pub const WIDTH: f64 = 440.0;

/// One drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// File name and anchor: letters, digits, hyphens.
    pub id: String,
    /// What tells it from its neighbours, often the subject.
    pub label: String,
    /// n, and what else has to be said.
    pub note: String,
    /// Size in its own units.
    pub size: (f64, f64),
    /// The marks.
    pub body: String,
    /// Pixels under them.
    pub rasters: Vec<Raster>,
}

/// Drawings of one kind, one a subject or a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Anchor.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub caption: String,
    /// The drawings.
    pub figures: Vec<Figure>,
}

impl Group {
    /// A group, unless it has no drawing.
    pub fn new(id: &str, title: &str, caption: &str, figures: Vec<Figure>) -> Option<Self> {
        (!figures.is_empty()).then(|| Self {
            id: id.to_owned(),
            title: title.to_owned(),
            caption: caption.to_owned(),
            figures,
        })
    }
}

impl Figure {
    /// A drawing; `parts` make its file name.
    pub fn new(parts: &[&str], label: &str, note: String, size: (f64, f64), svg: Svg) -> Self {
        let id = slug(&parts.join("-"));
        let (label, body) = (label.to_owned(), svg.into_string());
        Self { id, label, note, size, body, rasters: Vec::new() }
    }

    /// Everything between the drawing's tags.
    /// # Errors
    /// Those of its pixels.
    pub fn marks(&self) -> crate::error::Result<String> {
        let rasters = self.rasters.iter().map(Raster::mark);
        Ok(rasters.collect::<crate::error::Result<String>>()? + &self.body)
    }
}

/// Letters, digits and single hyphens, at most 80 of them.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(80);
    out.trim_matches('-').to_owned()
}

/// Every file name and anchor once: a number is added where slugs are equal.
pub fn number_twins<'a>(ids: impl Iterator<Item = &'a mut String>) {
    let mut seen = std::collections::HashSet::<String>::new();
    for id in ids {
        let plain = id.clone();
        let mut n = 2;
        while !seen.insert(id.clone()) {
            *id = format!("{plain}-{n}");
            n += 1;
        }
    }
}

/// Results, and the colour of each space throughout the page.
#[derive(Debug, Clone)]
pub struct Drawn<'a> {
    /// The results.
    pub results: &'a Results,
    /// Spaces with a colour of their own, in the order of their rank.
    coloured: Vec<String>,
}

/// Colours besides grey.
pub const N_COLOURS: usize = 6;

impl<'a> Drawn<'a> {
    /// Gives colours to the spaces that score best, over all subjects.
    pub fn new(results: &'a Results) -> Self {
        let lagged = results.has_lagged();
        let ranks: Vec<Vec<&ScoreRow>> =
            results.subjects().iter().map(|s| results.ranked(s, lagged)).collect();
        let most = ranks.iter().map(Vec::len).max().unwrap_or(0);
        let mut coloured: Vec<String> = Vec::new();
        for place in 0..most {
            for row in ranks.iter().filter_map(|ranked| ranked.get(place)) {
                if coloured.len() < N_COLOURS && !coloured.contains(&row.space) {
                    coloured.push(row.space.clone());
                }
            }
        }
        Self { results, coloured }
    }

    /// The class of a space's colour; `c0` (grey) beyond the first six.
    pub fn class(&self, space: &str) -> String {
        let place = self.coloured.iter().position(|name| name == space);
        format!("c{}", place.map_or(0, |i| i + 1))
    }

    /// A space's line pattern, so that colour is not all that tells lines apart.
    pub fn pattern(&self, space: &str) -> usize {
        self.coloured.iter().position(|name| name == space).unwrap_or(0)
    }

    /// Whether the space has a colour of its own.
    pub fn is_coloured(&self, space: &str) -> bool {
        self.coloured.iter().any(|name| name == space)
    }

    /// What is said where not all spaces are drawn in colour.
    pub fn others(&self, n_spaces: usize) -> String {
        match n_spaces > self.coloured.len() {
            true => format!(" The {} best of {n_spaces} spaces are shown.", self.coloured.len()),
            false => String::new(),
        }
    }
}

/// The class of a subject's colour: another order than that of spaces.
pub fn subject_class(index: usize) -> &'static str {
    ["c4", "c3", "c5", "c6", "c1", "c2"][index % N_COLOURS]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_plain_and_differ() {
        assert_eq!(slug("Voxels <script>/../ü glove"), "voxels-script-glove");
        let figure = || Figure::new(&["a", "б"], "", String::new(), (1.0, 1.0), Svg::default());
        let mut figures = [figure(), figure(), figure()];
        number_twins(figures.iter_mut().map(|figure| &mut figure.id));
        assert_eq!(figures.map(|f| f.id), ["a", "a-2", "a-3"]);
    }
}
