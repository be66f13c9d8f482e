//! One story's BOLD as it is fitted: trimmed, without censored TRs, cleaned.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::bold::files::BoldFinder;
use super::bold::pattern::{Bindings, found_paths};
use crate::design::clean::Cleaner;
use crate::design::trim::Trim;
use crate::error::{Error, Result};
use crate::io::confounds::Confounds;
use crate::io::matrix_file::MatrixFile;
use crate::io::{input, npy};
use crate::study_file::{BoldCleaning, Censor};

/// What BOLD is cut and cleaned by, and where its tables are.
#[derive(Clone, Copy)]
pub struct CleaningRules<'a> {
    /// The settings.
    pub cleaning: &'a BoldCleaning,
    /// The folder that their paths are relative to.
    pub folder: &'a Path,
    /// Repetition time, for cosines.
    pub tr_s: f64,
    /// Where the BOLD is; its path says what `{session}` in theirs stands for.
    pub finder: Option<&'a BoldFinder<'a>>,
}

impl CleaningRules<'_> {
    /// A table of a story: the pattern's placeholders filled in. A session that the BOLD's own path
    /// does not say is looked for on disk.
    fn table(&self, pattern: &str, subject: &str, story: &str) -> Result<PathBuf> {
        let pattern = self.folder.join(pattern.replace("{subject}", subject));
        let mut bound = Bindings::of(story, None);
        let path = |bound: &Bindings| PathBuf::from(bound.fill(&pattern.to_string_lossy()));
        if !pattern.to_string_lossy().contains("{session}") {
            return Ok(path(&bound));
        }
        bound.session = match self.finder {
            Some(finder) => finder.session(story)?,
            None => None,
        };
        if bound.session.is_some() {
            return Ok(path(&bound));
        }
        let mut found = found_paths(&pattern, &bound);
        match found.len() {
            1 => Ok(found.remove(0).0),
            n => Err(Error::Values {
                place: format!("story {story:?}"),
                problem: format!("expected one session with {}, got {n}", path(&bound).display()),
                hint: "write the session in place of {session}".into(),
            }),
        }
    }
}

/// The file of one story, which of its rows are used, and what is taken off them.
///
/// Rows come in this order: the trim cuts, censored rows are left out, confounds and drifts go in one
/// least squares over the rows that are left, then each voxel is z-scored.
#[derive(Debug)]
pub struct StoryBold {
    /// As it is on disk.
    pub file: MatrixFile,
    /// Rows of the file that the trim leaves.
    trimmed: Range<usize>,
    /// Rows that are used, counted after the trim; in order, none empty.
    used: Vec<Range<usize>>,
    /// Columns over the trimmed rows, with their names.
    confounds: Vec<(String, Vec<f64>)>,
    /// Columns that mark censored TRs.
    censored_by: Vec<String>,
    /// Files of confounds and marks.
    tables: Vec<PathBuf>,
    settings: (Option<crate::design::clean::Detrend>, f64),
    zscore: bool,
    cleaner: Cleaner,
}

impl StoryBold {
    /// A story's BOLD; `subject` and `story` are for messages and paths.
    /// # Errors
    /// `Error::NothingLeft` for a trim as long as the story; `Error::Shape` for a table with other
    /// rows than the file; `Error::Values` if cleaning leaves nothing; those of the tables.
    pub fn open(
        file: MatrixFile,
        (subject, story): (&str, &str),
        rules: CleaningRules<'_>,
    ) -> Result<Self> {
        let CleaningRules { cleaning, tr_s, .. } = rules;
        let n_rows = file.n_rows();
        let trim = cleaning.trim.unwrap_or(Trim::NONE);
        let trimmed = trim.kept(n_rows).map_err(|error| error.in_story(story))?;
        let path = |pattern: &str| rules.table(pattern, subject, story);
        let table = match &cleaning.confounds {
            Some(pattern) => Some(read_table(&path(pattern)?, &file, story)?),
            None => None,
        };
        let confounds = match &table {
            Some(table) => table.values(cleaning.confound_columns.as_deref(), trimmed.clone())?,
            None => Vec::new(),
        };
        let marks = match (&cleaning.censor, &table) {
            (Some(Censor::Column(name)), Some(table)) => {
                table.values(Some(std::slice::from_ref(name)), trimmed.clone())?
            }
            (Some(Censor::File(pattern)), _) => {
                read_marks(&path(pattern)?, &file, story, trimmed.clone())?
            }
            _ => Vec::new(),
        };
        let censor = match &cleaning.censor {
            Some(Censor::File(pattern)) => Some(pattern),
            _ => None,
        };
        let tables = cleaning.confounds.iter().chain(censor).map(|pattern| path(pattern));
        let tables = tables.collect::<Result<Vec<_>>>()?;
        let is_used = |row: usize| marks.iter().all(|(_, marks)| marks[row] == 0.0);
        let mut made = Self {
            used: ranges((0..trimmed.len()).filter(|&row| is_used(row))),
            file,
            trimmed,
            confounds,
            censored_by: marks.into_iter().map(|(name, _)| name).collect(),
            tables,
            settings: (cleaning.detrend, tr_s),
            zscore: cleaning.zscore,
            cleaner: Cleaner::none(),
        };
        made.clean_anew((subject, story))?;
        Ok(made)
    }

    /// A repeat of this story in another file: the same rows, the same things taken off. It is not
    /// z-scored, so that the mean of all repeats is what it was.
    pub fn repeat(&self, file: MatrixFile) -> Self {
        let cleaner = self.cleaner.clone().without_zscore();
        Self {
            file,
            trimmed: self.trimmed.clone(),
            used: self.used.clone(),
            confounds: Vec::new(),
            censored_by: Vec::new(),
            tables: Vec::new(),
            settings: self.settings,
            zscore: false,
            cleaner,
        }
    }

    /// Leaves out more rows, counted after the trim.
    /// # Errors
    /// `Error::Values` if nothing is left.
    pub fn leave_out(&mut self, rows: &[usize], names: (&str, &str)) -> Result<()> {
        let used = self.used.iter().cloned().flatten().filter(|row| !rows.contains(row));
        self.used = ranges(used);
        self.clean_anew(names)
    }

    fn clean_anew(&mut self, (subject, story): (&str, &str)) -> Result<()> {
        let used: Vec<usize> = self.used.iter().cloned().flatten().collect();
        let columns: Vec<&[f64]> = self.confounds.iter().map(|(_, c)| c.as_slice()).collect();
        self.cleaner =
            Cleaner::new(self.trimmed.len(), &used, &columns, self.settings, self.zscore);
        let n_off = self.cleaner.n_columns();
        let is_enough = if n_off == 0 { !used.is_empty() } else { used.len() >= n_off + 3 };
        if is_enough {
            return Ok(());
        }
        Err(Error::Values {
            place: format!("story {story:?}"),
            problem: format!(
                "cleaning leaves nothing of the BOLD of {subject}: {} of {} TRs are used, {n_off} \
                 columns of confounds and drifts are taken off ({})",
                used.len(),
                self.trimmed.len(),
                self.file.path().display()
            ),
            hint: "take fewer confound_columns, a lower cutoff in detrend, or censor less".into(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Files of confounds and marks.
    pub fn tables(&self) -> impl Iterator<Item = &Path> {
        self.tables.iter().map(PathBuf::as_path)
    }

    /// TRs after the trim, censored ones included: those of the features.
    pub fn n_trs(&self) -> usize {
        self.trimmed.len()
    }

    /// TRs that are used.
    pub fn n_rows(&self) -> usize {
        self.used.iter().map(Range::len).sum()
    }

    /// Voxels.
    pub fn n_cols(&self) -> usize {
        self.file.n_cols()
    }

    /// The TRs that are used, counted after the trim.
    pub fn used(&self) -> &[Range<usize>] {
        &self.used
    }

    /// Whether some TRs are left out.
    pub fn is_cut(&self) -> bool {
        self.n_rows() < self.n_trs()
    }

    /// What is taken off.
    pub fn cleaner(&self) -> &Cleaner {
        &self.cleaner
    }

    /// Names of the confounds, and of the columns that censor.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.confounds.iter().map(|(name, _)| name).chain(&self.censored_by).map(String::as_str)
    }

    /// Rows of the file that are used.
    pub fn file_rows(&self) -> impl Iterator<Item = Range<usize>> {
        let first = self.trimmed.start;
        self.used.iter().map(move |rows| first + rows.start..first + rows.end)
    }

    /// Cleaned BOLD of some voxels, `(n_rows, voxels.len())`.
    /// # Errors
    /// As [`MatrixFile::read_columns`].
    pub fn read(&self, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        let width = voxels.len();
        self.read_raw(&self.used, voxels, out)?;
        self.cleaner.clean(out, width);
        Ok(())
    }

    /// Some rows, counted after the trim, as they are in the file.
    fn read_raw(&self, rows: &[Range<usize>], voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (width, first) = (voxels.len(), self.trimmed.start);
        let mut rest = &mut *out;
        for rows in rows {
            let n = (rows.len() * width).min(rest.len());
            let (now, later) = rest.split_at_mut(n);
            self.file.read_columns(first + rows.start..first + rows.end, voxels.clone(), now)?;
            rest = later;
        }
        Ok(())
    }

    /// TRs within `rows` (counted after the trim) that are used.
    pub fn used_in(&self, rows: &Range<usize>) -> Vec<Range<usize>> {
        let inside = |used: &Range<usize>| used.start.max(rows.start)..used.end.min(rows.end);
        self.used.iter().map(inside).filter(|used| !used.is_empty()).collect()
    }

    /// Cleaned BOLD of the used TRs within `rows` (counted after the trim). The whole story is
    /// cleaned, then cut.
    /// # Errors
    /// As [`MatrixFile::read_columns`].
    pub fn read_in(
        &self,
        rows: &Range<usize>,
        voxels: Range<usize>,
        out: &mut [f32],
    ) -> Result<()> {
        let part = self.used_in(rows);
        if self.cleaner.is_identity() {
            return self.read_raw(&part, voxels, out);
        }
        let n_before: usize = self.used_in(&(0..rows.start)).iter().map(Range::len).sum();
        let width = voxels.len();
        let mut whole = vec![0f32; self.n_rows() * width];
        self.read(voxels, &mut whole)?;
        out.copy_from_slice(&whole[n_before * width..][..out.len()]);
        Ok(())
    }

    /// These voxels will be read soon.
    pub fn expect(&self, voxels: Range<usize>) {
        self.file.expect_columns(self.trimmed.clone(), voxels);
    }
}

/// Neighbours among increasing numbers, together.
fn ranges(rows: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for row in rows {
        match found.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => found.push(row..row + 1),
        }
    }
    found
}

fn read_table(path: &Path, file: &MatrixFile, story: &str) -> Result<Confounds> {
    let table = Confounds::read(path)?;
    check_rows(table.n_rows(), path, file, story)?;
    Ok(table)
}

/// Marks of a file of one column, over the trimmed rows.
fn read_marks(
    path: &Path,
    file: &MatrixFile,
    story: &str,
    rows: Range<usize>,
) -> Result<Vec<(String, Vec<f64>)>> {
    if input::extension(path) == "npy" {
        let marks = npy::read_vector_f64(path)?.to_vec();
        check_rows(marks.len(), path, file, story)?;
        return Ok(vec![(String::new(), marks[rows].to_vec())]);
    }
    let table = read_table(path, file, story)?;
    if table.names().len() != 1 {
        return Err(Error::Values {
            place: path.display().to_string(),
            problem: format!("expected one column of marks, got {}", table.names().len()),
            hint: "name the file in confounds, and the column in censor".into(),
        });
    }
    table.values(None, rows)
}

fn check_rows(n_rows: usize, path: &Path, file: &MatrixFile, story: &str) -> Result<()> {
    if n_rows == file.n_rows() {
        return Ok(());
    }
    Err(Error::Shape {
        what: format!("story {story:?}: {}", path.display()),
        expected: format!("{} rows, as the BOLD has ({})", file.n_rows(), file.path().display()),
        got: n_rows.to_string(),
        hint: "one row per row of the BOLD file, before any trim".into(),
    })
}

/// Whether every pattern of `confound_columns` and `censor` names a column in some story.
/// # Errors
/// `Error::Values`.
pub fn check_patterns(stories: &[StoryBold], subject: &str, cleaning: &BoldCleaning) -> Result<()> {
    let censor = match &cleaning.censor {
        Some(Censor::Column(name)) => Some(name),
        _ => None,
    };
    let patterns = cleaning.confound_columns.iter().flatten().chain(censor);
    for pattern in patterns {
        let is_named = |name: &str| crate::io::confounds::matches(pattern, name) || name == pattern;
        if !stories.iter().any(|story| story.column_names().any(is_named)) {
            return Err(Error::Values {
                place: format!("[bold.{subject}]"),
                problem: format!("no column of any story's confounds is called {pattern:?}"),
                hint: "patterns are *, ? and [0-4], as in a shell; see the tables' first lines"
                    .into(),
            });
        }
    }
    Ok(())
}
