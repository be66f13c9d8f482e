//! What is looked for in a subject's BOLD before it is fitted: TRs and voxels without values, and
//! stories whose means differ.

use std::ops::Range;

use crate::error::Result;
use crate::io::matrix_file::MatrixFile;
use crate::stats::quantile;
use crate::stimuli::Story;
use crate::study::inputs::Subject;
use crate::study::story_bold::StoryBold;
use crate::warning::Warning;

/// Voxels that are looked at for the stories' means, in runs of neighbours.
const SAMPLE_RUNS: usize = 16;
const RUN_VOXELS: usize = 32;
/// Values of a subject that are looked at for voxels without values in one story: the first rows of
/// each story where there are more.
const MOST_VALUES: usize = 1 << 26;
/// Columns that are read together when a whole row is looked at.
const ROW_CHUNK: usize = 1 << 14;
/// Share of a voxel's variance that stories' means may make up in stories of 100 TRs or more: that of
/// slow voxels reaches 4 % at 100 TRs by chance.
const MOST_OF_MEANS: f64 = 0.05;
/// In shorter stories the share by chance grows as one over their TRs.
const MOST_OF_MEANS_TRS: f64 = 100.0;

/// Leaves out TRs that are NaN in every voxel; says that, which stories' means differ, and which
/// stories lose voxels. Files must be unpacked.
/// # Errors
/// Those of reading; `Error::Values` if nothing is left of a story.
pub fn notice(subjects: &mut [Subject], stories: &[Story]) -> Result<Vec<Warning>> {
    let mut warnings = Vec::new();
    for subject in subjects {
        let Subject { name, files, heard, .. } = subject;
        let stories: Vec<&Story> = heard.iter().map(|&story| &stories[story]).collect();
        for (bold, story) in files.iter_mut().zip(&stories) {
            let rows = rows_without_values(bold)?;
            if !rows.is_empty() {
                bold.leave_out(&rows, (name, &story.name))?;
                warnings.push(Warning::MissingTrs {
                    subject: name.clone(),
                    story: story.name.clone(),
                    trs: rows,
                    n_trs: bold.n_trs(),
                });
            }
        }
        let own = files.iter().zip(&stories).find(|(bold, _)| bold.cleaner().has_own_cosines());
        warnings.extend(own.map(|(_, story)| Warning::OwnCosines {
            subject: name.clone(),
            story: story.name.clone(),
        }));
        let names: Vec<&str> = stories.iter().map(|story| story.name.as_str()).collect();
        warnings.extend(nan_in_one_story(name, files, &names)?);
        let share = share_of_means(files)?;
        if share > most_of_means(files) {
            warnings.push(Warning::StoryMeans { subject: name.clone(), share });
        }
    }
    Ok(warnings)
}

/// The share that the means of these stories may make up.
fn most_of_means(files: &[StoryBold]) -> f64 {
    let n_rows: usize = files.iter().map(StoryBold::n_rows).sum();
    let mean_trs = n_rows as f64 / files.len().max(1) as f64;
    MOST_OF_MEANS * (MOST_OF_MEANS_TRS / mean_trs).max(1.0)
}

/// Used TRs, counted after the trim, in which no voxel has a value.
///
/// A few columns of all rows are read, more until some row has a value; the rows that have none by
/// then are read whole.
fn rows_without_values(bold: &StoryBold) -> Result<Vec<usize>> {
    let used: Vec<usize> = bold.used().iter().cloned().flatten().collect();
    let in_file: Vec<usize> = bold.file_rows().flatten().collect();
    let Some((&first, &last)) = in_file.first().zip(in_file.last()) else { return Ok(Vec::new()) };
    let rows = first..last + 1;
    let n_cols = bold.n_cols();
    let mut has_value = vec![false; rows.len()];
    let (mut start, mut width) = (0, RUN_VOXELS);
    while start < n_cols && !in_file.iter().any(|&row| has_value[row - first]) {
        let columns = start..(start + width).min(n_cols);
        let mut values = vec![0f32; rows.len() * columns.len()];
        bold.file.read_columns(rows.clone(), columns.clone(), &mut values)?;
        for (has_value, row) in has_value.iter_mut().zip(values.chunks_exact(columns.len())) {
            *has_value |= row.iter().any(|value| value.is_finite());
        }
        (start, width) = (columns.end, (2 * width).min(ROW_CHUNK));
    }
    let mut missing = Vec::new();
    for (&row, &in_file) in used.iter().zip(&in_file) {
        if !has_value[in_file - first] && !row_has_value(&bold.file, in_file)? {
            missing.push(row);
        }
    }
    Ok(missing)
}

fn row_has_value(file: &MatrixFile, row: usize) -> Result<bool> {
    let mut values = vec![0f32; ROW_CHUNK.min(file.n_cols())];
    for start in (0..file.n_cols()).step_by(ROW_CHUNK) {
        let columns = start..(start + ROW_CHUNK).min(file.n_cols());
        let values = &mut values[..columns.len()];
        file.read_columns(row..row + 1, columns, values)?;
        if values.iter().any(|value| value.is_finite()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Voxels that have no value in a single story, by story.
fn nan_in_one_story(
    subject: &str,
    files: &[StoryBold],
    stories: &[&str],
) -> Result<Option<Warning>> {
    let n_cols = files.first().map_or(0, StoryBold::n_cols);
    let n_values: usize = files.iter().map(|bold| bold.n_rows() * n_cols).sum();
    let share = n_values.div_ceil(MOST_VALUES).max(1);
    // Stories in which a voxel lacks a value, and the last of them.
    let mut lacking: Vec<(u32, u32)> = vec![(0, 0); n_cols];
    let mut is_nan = vec![false; n_cols];
    let mut values = Vec::new();
    for (at, bold) in (0u32..).zip(files) {
        is_nan.fill(false);
        let rows = bold.file_rows().flatten().take(bold.n_rows().div_ceil(share));
        for run in neighbours(rows, (1 << 20) / n_cols.max(1)) {
            values.resize(run.len() * n_cols, 0f32);
            bold.file.read_columns(run, 0..n_cols, &mut values)?;
            for row in values.chunks_exact(n_cols.max(1)) {
                is_nan.iter_mut().zip(row).for_each(|(nan, y)| *nan |= !y.is_finite());
            }
        }
        for (lacking, _) in lacking.iter_mut().zip(&is_nan).filter(|(_, nan)| **nan) {
            *lacking = (lacking.0 + 1, at);
        }
    }
    let mut lost: Vec<(String, usize)> = stories.iter().map(|&s| (s.to_owned(), 0)).collect();
    if files.len() > 1 {
        lacking.iter().filter(|(n, _)| *n == 1).for_each(|(_, at)| lost[*at as usize].1 += 1);
    }
    lost.retain(|(_, n)| *n > 0);
    lost.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let subject = subject.to_owned();
    Ok((!lost.is_empty()).then_some(Warning::NanStory { subject, lost, n_voxels: n_cols }))
}

/// Increasing rows as ranges of at most `most` neighbours.
fn neighbours(rows: impl Iterator<Item = usize>, most: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for row in rows {
        match runs.last_mut() {
            Some(run) if run.end == row && run.len() < most.max(1) => run.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

/// Share of a voxel's variance over all TRs that the stories' means make up, weighted by their TRs:
/// its median over a sample of voxels, NaN without voxels that vary.
fn share_of_means(files: &[StoryBold]) -> Result<f64> {
    let n_cols = files.first().map_or(0, StoryBold::n_cols);
    let mut shares = Vec::new();
    let mut values = Vec::new();
    for voxels in sample(n_cols) {
        let width = voxels.len();
        // Of each story and voxel: TRs, mean, squares about the mean.
        let mut moments: Vec<Vec<(f64, f64, f64)>> = vec![Vec::new(); width];
        for bold in files {
            values.resize(bold.n_rows() * width, 0f32);
            bold.read(voxels.clone(), &mut values)?;
            for (v, moments) in moments.iter_mut().enumerate() {
                let column = || values[v..].iter().step_by(width).map(|&y| f64::from(y));
                let n = bold.n_rows() as f64;
                let mean = column().sum::<f64>() / n;
                moments.push((n, mean, column().map(|y| (y - mean).powi(2)).sum()));
            }
        }
        shares.extend(moments.iter().map(|moments| {
            let n: f64 = moments.iter().map(|(n, _, _)| n).sum();
            let mean = moments.iter().map(|(n, mean, _)| n * mean).sum::<f64>() / n;
            let between: f64 = moments.iter().map(|(n, m, _)| n * (m - mean).powi(2)).sum();
            let within: f64 = moments.iter().map(|(_, _, squares)| squares).sum();
            // What f32 leaves of a constant voxel is no variance.
            let rounding = n * (f64::from(f32::EPSILON) * mean).powi(2);
            if between + within <= rounding { f64::NAN } else { between / (between + within) }
        }));
    }
    shares.retain(|share| !share.is_nan());
    shares.sort_unstable_by(f64::total_cmp);
    Ok(quantile(&shares, 0.5))
}

/// Runs of neighbouring voxels, evenly spread; all voxels where they are few.
fn sample(n_voxels: usize) -> Vec<Range<usize>> {
    if n_voxels <= SAMPLE_RUNS * RUN_VOXELS {
        let starts = (0..n_voxels).step_by(RUN_VOXELS);
        return starts.map(|start| start..(start + RUN_VOXELS).min(n_voxels)).collect();
    }
    let start = |i: usize| i * (n_voxels - RUN_VOXELS) / (SAMPLE_RUNS - 1);
    (0..SAMPLE_RUNS).map(|i| start(i)..start(i) + RUN_VOXELS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::npy;
    use crate::study::story_bold::CleaningRules;
    use crate::study_file::BoldCleaning;

    fn bold(values: &[f32], n_cols: usize, cleaning: &BoldCleaning) -> StoryBold {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.npy");
        npy::write(&path, &[values.len() / n_cols, n_cols], values).unwrap();
        let file = MatrixFile::open(&path, &crate::io::matrix_file::Which::default()).unwrap();
        let rules = CleaningRules { cleaning, folder: folder.path(), tr_s: 2.0, finder: None };
        StoryBold::open(file, ("s", "story"), rules).unwrap()
    }

    #[test]
    fn trs_without_values_are_found_behind_voxels_without_values() {
        let (n_rows, n_cols) = (30, 300);
        let mut values: Vec<f32> = (0..n_rows * n_cols).map(|i| (i as f32).sin()).collect();
        for row in values.chunks_exact_mut(n_cols) {
            row[..290].fill(f32::NAN);
        }
        for row in [0, 7, 8, 29] {
            values[row * n_cols..][..n_cols].fill(f32::NAN);
        }
        values[12 * n_cols..][..299].fill(f32::INFINITY);
        let cleaning = BoldCleaning { trim: Some("2:0".parse().unwrap()), ..Default::default() };
        let mut found = bold(&values, n_cols, &cleaning);
        let rows = rows_without_values(&found).unwrap();
        assert_eq!(rows, [5, 6, 27], "counted after the trim");
        found.leave_out(&rows, ("s", "story")).unwrap();
        assert_eq!((found.n_trs(), found.n_rows(), found.is_cut()), (28, 25, true));
        assert_eq!(found.used(), [0..5, 7..27]);
        let mut read = vec![0f32; 25];
        found.read(299..300, &mut read).unwrap();
        assert!(read.iter().all(|y| y.is_finite()));
        assert_eq!(read[5], values[9 * n_cols + 299]);
        assert!(rows_without_values(&found).unwrap().is_empty());
    }

    #[test]
    fn the_share_of_means_is_that_of_the_median_voxel() {
        let wave = |t: usize, v: usize| ((t * (v + 2)) as f32 * 0.7).sin();
        let story = |mean: f32, n: usize| -> Vec<f32> {
            (0..n * 5).map(|i| wave(i / 5, i % 5) + if i % 5 == 4 { 0.0 } else { mean }).collect()
        };
        let none = BoldCleaning::default();
        let share = |cleaning: &BoldCleaning, mean: f32| {
            let files =
                [bold(&story(500.0, 60), 5, cleaning), bold(&story(500.0 + mean, 20), 5, cleaning)];
            share_of_means(&files).unwrap()
        };
        // Weighted means: 3/4 and 1/4 of the TRs, 1 apart: 3/16 beside a variance of 1/2.
        assert!((share(&none, 1.0) - 0.1875 / 0.6875).abs() < 0.02, "{}", share(&none, 1.0));
        assert!(share(&none, 0.0) < 0.01);
        let zscored = BoldCleaning { zscore: true, ..Default::default() };
        assert!(share(&zscored, 50.0) < 1e-10);
        assert!(share_of_means(&[bold(&[3.0; 40], 2, &none)]).unwrap().is_nan(), "constant voxels");
    }

    #[test]
    fn the_story_that_costs_voxels_is_named() {
        let good: Vec<f32> = (0..40).map(|i| i as f32).collect();
        let mut bad = good.clone();
        (bad[4 * 3 + 1], bad[2]) = (f32::NAN, f32::NAN);
        let mut nowhere = [good.clone(), good.clone(), bad];
        nowhere.iter_mut().for_each(|values| values[3] = f32::NAN);
        let none = BoldCleaning::default();
        let files: Vec<StoryBold> = nowhere.iter().map(|values| bold(values, 4, &none)).collect();
        let stories = ["a", "b", "c"];
        let found = nan_in_one_story("s", &files, &stories).unwrap();
        let text = found.unwrap().to_string();
        assert!(text.contains("\"c\"") && text.contains("2 "), "{text}");
        assert!(nan_in_one_story("s", &files[..2], &stories[..2]).unwrap().is_none());
    }

    #[test]
    fn the_sample_is_inside() {
        for n in [0, 1, 31, 512, 513, 95_556] {
            let runs = sample(n);
            assert!(runs.iter().all(|run| run.end <= n && !run.is_empty()), "{n}");
            assert_eq!(runs.iter().map(Range::len).sum::<usize>(), n.min(512), "{n}");
        }
    }
}
