//! What stands on the page, in order.

use super::data::Results;
use super::figures::{
    Drawn, Figure, Group, alignment, alphas, beyond, brain, delays, encoder, layers, number_twins,
    performance, statistics, stories, voxels,
};
use super::tables::{self, Table};

/// A part of the page with a heading; left out where it has nothing to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Anchor.
    pub id: &'static str,
    /// Heading, and entry of the navigation.
    pub title: &'static str,
    /// Drawings.
    pub groups: Vec<Group>,
    /// Tables, under the drawings.
    pub tables: Vec<Table>,
}

/// All sections that have something to show.
pub fn sections(results: &Results) -> Vec<Section> {
    let drawn = &Drawn::new(results);
    let subjects = results.subjects();
    let per_subject = |make: fn(&Drawn<'_>, &str) -> Option<Table>| {
        subjects.iter().filter_map(|subject| make(drawn, subject)).collect::<Vec<_>>()
    };
    let section = |id, title, groups: Vec<Option<Group>>, tables: Vec<Table>| Section {
        id,
        title,
        groups: groups.into_iter().flatten().collect(),
        tables,
    };
    let mut story_tables = per_subject(tables::stories_of_best);
    story_tables.extend(per_subject(tables::stories_of_all));
    let mut sections = vec![
        section(
            "spaces",
            "Spaces",
            vec![beyond::beyond(drawn), performance::overview(drawn)],
            vec![tables::performance(drawn)],
        ),
        section(
            "certainty",
            "How sure",
            vec![
                statistics::comparisons(drawn),
                statistics::stability(drawn),
                statistics::learning(drawn),
                statistics::overlap(drawn),
                statistics::overlap_of_splits(drawn),
            ],
            [tables::noise_ceiling(drawn), tables::comparisons(results), tables::stability(drawn)]
                .into_iter()
                .flatten()
                .collect(),
        ),
        section(
            "voxels",
            "Voxels",
            vec![
                brain::maps(drawn),
                layers::curves(drawn),
                voxels::spaces(drawn),
                voxels::tails(drawn),
                voxels::pairs(drawn),
            ],
            vec![],
        ),
        section("subjects", "Subjects", vec![subject_against_subject(drawn)], vec![]),
        section(
            "stories",
            "Stories",
            vec![
                stories::by_space(drawn),
                voxels::best_and_worst(drawn),
                stories::by_properties(drawn),
                statistics::stability_stories(drawn),
            ],
            story_tables,
        ),
        section("timing", "Timing", vec![alignment::curve(drawn), delays::profiles(drawn)], vec![]),
        section(
            "alphas-section",
            "Alphas",
            vec![alphas::chosen(drawn), alphas::cv_scores(drawn)],
            tables::hyper_parameters(drawn).into_iter().collect(),
        ),
        section(
            "encoder",
            "Encoder",
            vec![
                encoder::sweep_curves(drawn),
                encoder::sweep_sizes(drawn),
                encoder::training(drawn),
            ],
            tables::sweep(results).into_iter().collect(),
        ),
    ];
    sections.retain(|section| !(section.groups.is_empty() && section.tables.is_empty()));
    let figures = sections.iter_mut().flat_map(|s| &mut s.groups).flat_map(|g| &mut g.figures);
    number_twins(figures.map(|figure| &mut figure.id));
    number_twins(sections.iter_mut().flat_map(|s| &mut s.tables).map(|table| &mut table.id));
    sections
}

/// Voxels and stories of one subject against another.
fn subject_against_subject(drawn: &Drawn<'_>) -> Option<Group> {
    let figures = voxels::subjects(drawn).into_iter().chain(stories::subjects(drawn)).collect();
    Group::new(
        "subject-subject",
        "Subject against subject",
        "Voxels of each subject's best model, and test stories: each dot is a story, and on the \
         dashed line both subjects score alike.",
        figures,
    )
}

/// Every figure with its group's title.
pub fn figures(sections: &[Section]) -> impl Iterator<Item = (&Figure, &str)> {
    let groups = sections.iter().flat_map(|section| &section.groups);
    groups.flat_map(|group| group.figures.iter().map(|figure| (figure, group.title.as_str())))
}
