//! `voxelcast check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Context, Output};
use crate::error::Result;
use crate::report::table;
use crate::reporter::Reporter;
use crate::study::language::check_models;
use crate::study::{Splits, StoryWords, all_marks, check_spaces, read_inputs, words_json};
use crate::study_file;

/// `voxelcast check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
}

/// Opens everything, checks every count, computes nothing.
pub fn check_study(args: &CheckArgs, context: &Context) -> Result<Output> {
    let study = study_file::read(&args.study)?;
    let mut inputs = read_inputs(&study)?;
    let names: Vec<String> = inputs.units.iter().map(|unit| unit.name.clone()).collect();
    let splits = Splits::of_study(&study, &inputs)?;
    let split = &splits.all;
    check_models(&study)?;
    inputs.notes.extend(check_spaces(&study, &inputs, &split.train)?);
    inputs.notes.iter().for_each(|note| context.console.note(&format!("note: {note}")));
    inputs.warnings.iter().for_each(|warning| context.console.warn(warning));
    let n_words: usize = inputs.stories.iter().map(|story| story.words.len()).sum();
    let (by_block, has_own) = (study.units.by_block, study.units.own || splits.differ());
    let mut rows = vec![["subject", "stories", "TRs", "voxels"].map(str::to_owned).to_vec()];
    if has_own {
        rows[0].extend(["train", "folds", "test"].map(str::to_owned));
    }
    for (index, subject) in inputs.subjects.iter().enumerate() {
        let mut row = vec![
            subject.name.clone(),
            subject.files.len().to_string(),
            subject.n_trs().iter().sum::<usize>().to_string(),
            subject.n_voxels.to_string(),
        ];
        if has_own {
            let own = splits.of(index);
            row.extend([own.train.len(), own.n_folds, own.test.len()].map(|n| n.to_string()));
        }
        rows.push(row);
    }
    let blocks = match by_block {
        true => format!(" in {} blocks", names.len()),
        false => String::new(),
    };
    // Each subject's line has its own.
    let folds = match has_own {
        true => String::new(),
        false => format!(" in {} folds", split.n_folds),
    };
    let text = format!(
        "{}\n{}\n{} stories{blocks}, {n_words} words; {} to train on{folds}, {} to test\n\
         {}all counts agree\n",
        words_table(&inputs.words),
        table::align(&rows, 1),
        inputs.stories.len(),
        split.train.len(),
        split.test.len(),
        marks_line(&inputs.words),
    );
    let document = json!({
        "schema": "voxelcast.check/1",
        "n_stories": inputs.stories.len(), "n_words": n_words,
        "train": split.train.iter().map(|&s| names[s].as_str()).collect::<Vec<_>>(),
        "test": split.test.iter().map(|&s| names[s].as_str()).collect::<Vec<_>>(),
        "n_folds": split.n_folds,
        "subjects": inputs.subjects.iter().enumerate().map(|(index, s)| {
            let mut about = json!({
                "name": s.name, "n_voxels": s.n_voxels, "n_trs": s.n_trs().iter().sum::<usize>(),
            });
            if has_own {
                let own = splits.of(index);
                about["train"] = own.train.iter().map(|&unit| names[unit].as_str()).collect();
                about["test"] = own.test.iter().map(|&unit| names[unit].as_str()).collect();
                about["n_folds"] = own.n_folds.into();
            }
            about
        }).collect::<Vec<_>>(),
        "warnings": inputs.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "notes": inputs.notes,
        "words": words_json(&inputs.words),
    });
    Ok(Output { document, text })
}

/// One line per story: its words against its scan.
fn words_table(words: &[StoryWords]) -> String {
    let has_tiers = words.iter().any(|story| story.tier.is_some());
    let mut rows = vec![
        ["story", "words", "marks", "untimed", "words (s)", "scan (s)", "tier"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let span = |(first, last): (f64, f64)| format!("{first:.1} to {last:.1}");
    for story in words {
        rows.push(vec![
            story.name.clone(),
            story.n_words.to_string(),
            story.n_marks().to_string(),
            story.n_untimed.to_string(),
            span(story.words_s),
            span(story.scan_s),
            story.tier.clone().unwrap_or_default(),
        ]);
    }
    if !has_tiers {
        rows.iter_mut().for_each(|row| drop(row.pop()));
    }
    table::align(&rows, 1)
}

/// Which marks were dropped, most frequent first, and how many words have no times.
fn marks_line(words: &[StoryWords]) -> String {
    const SHOWN: usize = 8;
    let mut text = String::new();
    let mut marks: Vec<(&str, usize)> = all_marks(words).into_iter().collect();
    marks.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    if !marks.is_empty() {
        let n: usize = marks.iter().map(|(_, n)| n).sum();
        let more = if marks.len() > SHOWN { ", …" } else { "" };
        let shown: Vec<String> =
            marks.iter().take(SHOWN).map(|(mark, n)| format!("{mark} {n}")).collect();
        text += &format!("{n} marks dropped: {}{more}\n", shown.join(", "));
    }
    match words.iter().map(|story| story.n_untimed).sum::<usize>() {
        0 => {}
        n => text += &format!("{n} words without times\n"),
    }
    text
}
