//! `voxelcast check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Context, Output};
use crate::error::Result;
use crate::report::table;
use crate::reporter::Reporter;
use crate::study::language::check_models;
use crate::study::{StoryWords, all_marks, check_spaces, read_inputs, split, words_json};
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
    let names: Vec<&str> = inputs.stories.iter().map(|story| story.name.as_str()).collect();
    let split = split(&study, &names)?;
    check_models(&study)?;
    inputs.notes.extend(check_spaces(&study, &inputs, &split.train)?);
    inputs.notes.iter().for_each(|note| context.console.note(&format!("note: {note}")));
    inputs.warnings.iter().for_each(|warning| context.console.warn(warning));
    let n_words: usize = inputs.stories.iter().map(|story| story.words.len()).sum();
    let mut rows =
        vec![vec!["subject".to_owned(), "stories".into(), "TRs".into(), "voxels".into()]];
    for subject in &inputs.subjects {
        rows.push(vec![
            subject.name.clone(),
            subject.files.len().to_string(),
            subject.n_trs().iter().sum::<usize>().to_string(),
            subject.n_voxels.to_string(),
        ]);
    }
    let text = format!(
        "{}\n{}\n{} stories, {n_words} words; {} to train on in {} folds, {} to test\n\
         {}all counts agree\n",
        words_table(&inputs.words),
        table::align(&rows, 1),
        names.len(),
        split.train.len(),
        split.n_folds,
        split.test.len(),
        marks_line(&inputs.words),
    );
    let document = json!({
        "schema": "voxelcast.check/1",
        "n_stories": names.len(), "n_words": n_words,
        "train": split.train.iter().map(|&s| names[s]).collect::<Vec<_>>(),
        "test": split.test.iter().map(|&s| names[s]).collect::<Vec<_>>(),
        "n_folds": split.n_folds,
        "subjects": inputs.subjects.iter().map(|s| json!({
            "name": s.name, "n_voxels": s.n_voxels, "n_trs": s.n_trs().iter().sum::<usize>(),
        })).collect::<Vec<_>>(),
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
