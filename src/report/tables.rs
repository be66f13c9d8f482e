//! The page's tables: every cell with the text that is shown and the value of the CSV file.

use serde::Serialize;

use super::ScoreRow;
use super::data::{Cells, Results, folder};
use super::figures::Drawn;
use super::figures::scale::{count, group, power_of_ten, score, signed};

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// As in the CSV file.
    pub name: String,
    /// As in the page.
    pub label: String,
    /// Sorted as numbers, set to the right.
    pub is_number: bool,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// As shown.
    pub text: String,
    /// As in the CSV file.
    pub value: String,
    /// Length of a bar behind the number, 0 to 100.
    pub bar: Option<f64>,
    /// Class of a dot of colour before the text.
    pub colour: Option<String>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// Anchor.
    pub id: String,
    /// Above it.
    pub title: String,
    /// How to read it.
    pub note: String,
    /// Name of the download.
    pub file: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows, as long as the columns.
    pub rows: Vec<Vec<Cell>>,
    /// Shown at once, or behind its title.
    pub is_open: bool,
}

/// Rows above which a table of all models is left to its CSV file.
const MOST_ROWS: usize = 1500;

fn text(name: &str, label: &str) -> Column {
    Column { name: name.to_owned(), label: label.to_owned(), is_number: false }
}

fn number(name: &str, label: &str) -> Column {
    Column { name: name.to_owned(), label: label.to_owned(), is_number: true }
}

fn words(value: &str) -> Cell {
    Cell { text: value.to_owned(), value: value.to_owned(), bar: None, colour: None }
}

fn counted(n: usize) -> Cell {
    Cell { text: count(n), ..words(&n.to_string()) }
}

/// A score, with a bar against the largest one.
fn scored(value: f64, most: Option<f64>) -> Cell {
    let bar = most.filter(|most| *most > 0.0 && value > 0.0).map(|most| 100.0 * value / most);
    Cell { text: score(value), value: value.to_string(), bar, colour: None }
}

fn decimals(value: f64, n: usize) -> Cell {
    let shown =
        if value.is_nan() { "–".to_owned() } else { signed(&group(&format!("{value:.n$}"))) };
    Cell { text: shown, ..words(&value.to_string()) }
}

/// A positive number of any size: 8.3, 320, 2.6 × 10⁴.
fn magnitude(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match value {
        v if v < 99.5 => format!("{v:.1}"),
        v if v < 9999.5 => group(&format!("{v:.0}")),
        v => {
            let power = v.log10().floor() as i32;
            format!("{:.1} × {}", v / 10f64.powi(power), power_of_ten(power))
        }
    }
}

fn variant(lagged: bool) -> Cell {
    Cell { text: if lagged { "lagged" } else { "plain" }.into(), ..words(&lagged.to_string()) }
}

fn space(drawn: &Drawn<'_>, name: &str) -> Cell {
    Cell { colour: Some(drawn.class(name)), ..words(name) }
}

/// Columns of scores, as in summary.csv.
fn score_columns() -> Vec<Column> {
    vec![
        number("mean", "mean\u{a0}r"),
        number("median", "median"),
        number("top1", "top 1\u{a0}% from"),
        number("top5", "top 5\u{a0}% from"),
        number("top1_mean", "mean of top 1\u{a0}%"),
        number("top5_mean", "mean of top 5\u{a0}%"),
        number("n_voxels_used", "voxels"),
    ]
}

fn score_cells(row: &ScoreRow, most: f64) -> Vec<Cell> {
    let s = &row.scores;
    let mut cells = vec![scored(s.mean, Some(most))];
    cells.extend([s.median, s.top1, s.top5, s.top1_mean, s.top5_mean].map(|v| scored(v, None)));
    cells.push(counted(s.n_voxels_used));
    cells
}

/// Mean number of repeats: whole unless stories differ.
fn repeats(n: f64) -> Cell {
    if n.fract() == 0.0 { counted(n as usize) } else { decimals(n, 1) }
}

fn largest_mean<'a>(rows: impl Iterator<Item = &'a ScoreRow>) -> f64 {
    rows.map(|row| row.scores.mean).filter(|m| m.is_finite()).fold(0.0, f64::max)
}

/// Every space, variant and subject.
pub fn performance(drawn: &Drawn<'_>) -> Table {
    let results = drawn.results;
    let has_significance = !results.significance.is_empty();
    let mut columns =
        vec![text("subject", "subject"), text("space", "space"), text("lagged", "delays")];
    columns.extend(score_columns());
    let has_inner = results.summary.iter().any(|row| row.inner.is_some());
    if has_inner {
        columns.push(number("inner_mean", "inner\u{a0}r"));
    }
    if has_significance {
        columns.push(number("n_significant", "above chance"));
    }
    let most = largest_mean(results.summary.iter());
    let mut rows = Vec::new();
    for subject in results.subjects() {
        for lagged in [true, false] {
            for row in results.ranked(subject, lagged) {
                let mut cells = vec![words(subject), space(drawn, &row.space), variant(row.lagged)];
                cells.extend(score_cells(row, most));
                if has_inner {
                    cells.push(scored(row.inner.map_or(f64::NAN, |inner| inner.inner_mean), None));
                }
                if has_significance {
                    let found = results.significance_of(row);
                    cells.push(found.map_or(words("–"), |s| counted(s.n_significant)));
                }
                rows.push(cells);
            }
        }
    }
    let mut note = "r between predicted and measured BOLD over all test TRs, summed up over voxels. \
                    “Top 1\u{a0}% from” is the 99th percentile, “mean of top 1\u{a0}%” the mean of the \
                    voxels above it."
        .to_owned();
    if has_inner {
        note += " “Inner\u{a0}r” is the mean r without the TRs near the edges of the test stories.";
    }
    Table {
        id: "performance-table".into(),
        title: "Performance".into(),
        note,
        file: "performance.csv".into(),
        columns,
        rows,
        is_open: true,
    }
}

/// Test stories of a subject's best model.
pub fn stories_of_best(drawn: &Drawn<'_>, subject: &str) -> Option<Table> {
    let results = drawn.results;
    let best = results.best(subject)?;
    let stories = results.stories_of(subject, &best.space, best.lagged);
    let most = largest_mean(stories.iter().copied());
    let mut columns = vec![text("story", "story")];
    columns.extend(score_columns());
    let label = results.model_label(&best.space, best.lagged);
    let rows = stories
        .into_iter()
        .map(|row| {
            let mut cells = vec![words(row.story.as_deref().unwrap_or_default())];
            cells.extend(score_cells(row, most));
            cells
        })
        .collect();
    Some(Table {
        id: format!("stories-{}", super::figures::slug(subject)),
        title: format!("{subject}: test stories, {label}"),
        note: "r of each voxel within the story, best mean first.".into(),
        file: format!("stories-{}.csv", super::figures::slug(subject)),
        columns,
        rows,
        is_open: true,
    })
}

/// Test stories of all models of a subject.
pub fn stories_of_all(drawn: &Drawn<'_>, subject: &str) -> Option<Table> {
    let results = drawn.results;
    let mut stories: Vec<&ScoreRow> =
        results.stories.iter().filter(|row| row.subject == subject).collect();
    if stories.is_empty() || stories.len() > MOST_ROWS {
        return None;
    }
    stories.sort_by(|a, b| b.scores.mean.total_cmp(&a.scores.mean));
    let most = largest_mean(stories.iter().copied());
    let mut columns =
        vec![text("story", "story"), text("space", "space"), text("lagged", "delays")];
    columns.extend(score_columns());
    let rows = stories
        .into_iter()
        .map(|row| {
            let mut cells = vec![
                words(row.story.as_deref().unwrap_or_default()),
                space(drawn, &row.space),
                variant(row.lagged),
            ];
            cells.extend(score_cells(row, most));
            cells
        })
        .collect();
    Some(Table {
        id: format!("stories-all-{}", super::figures::slug(subject)),
        title: format!("{subject}: test stories of all models"),
        note: "Sorted by mean.".into(),
        file: format!("stories-all-{}.csv", super::figures::slug(subject)),
        columns,
        rows,
        is_open: false,
    })
}

/// What was chosen and computed for each model.
pub fn hyper_parameters(drawn: &Drawn<'_>) -> Option<Table> {
    let results = drawn.results;
    let columns = vec![
        text("subject", "subject"),
        text("space", "space"),
        text("lagged", "delays"),
        text("delays_trs", "TRs"),
        number("n_features", "features"),
        number("n_coefs", "columns"),
        text("solver", "solver"),
        number("condition", "condition number"),
        number("n_low", "at smallest alpha"),
        number("n_high", "at largest alpha"),
        number("n_plateau", "on a plateau"),
    ];
    let mut rows = Vec::new();
    for subject in results.subjects() {
        for row in results.ranked(subject, true).into_iter().chain(results.ranked(subject, false)) {
            let name = folder(&row.space, row.lagged);
            let Some(model) = results.run.models.iter().find(|m| m.folder == name) else {
                continue;
            };
            let info = results.run.spaces.iter().find(|s| s.name == row.space);
            let solver = results.run.solver.get(&name).map_or("", String::as_str);
            let solver_name = solver.split([' ', ':', ',', '(']).next().unwrap_or_default();
            let delays: Vec<String> = model.delays.iter().map(ToString::to_string).collect();
            let edges = results.edges_of(subject, &name).unwrap_or_default();
            let condition = model.condition.unwrap_or(f64::NAN);
            rows.push(vec![
                words(subject),
                space(drawn, &row.space),
                variant(row.lagged),
                words(&delays.join(" ")),
                counted(info.map_or(0, |s| s.n_features)),
                counted(model.n_coefs),
                Cell { text: solver_name.to_owned(), ..words(solver) },
                Cell { text: magnitude(condition), ..words(&condition.to_string()) },
                counted(edges.n_low),
                counted(edges.n_high),
                counted(edges.n_plateau),
            ]);
        }
    }
    (!rows.is_empty()).then(|| Table {
        id: "hyper-parameters".into(),
        title: "Models and their alphas".into(),
        note: "Voxels whose best alpha is at an end of the grid: clearly better there (smallest, \
               largest), or no better than inside (plateau)."
            .into(),
        file: "hyper-parameters.csv".into(),
        columns,
        rows,
        is_open: true,
    })
}

/// Every story and where it went.
pub fn split(drawn: &Drawn<'_>) -> Table {
    let run = &drawn.results.run;
    let has_properties = !drawn.results.properties.is_empty();
    let mut columns = vec![text("story", "story"), text("role", "role"), number("fold", "fold")];
    if has_properties {
        columns.extend([
            number("n_trs", "TRs"),
            number("seconds", "seconds"),
            number("n_words", "words"),
            number("words_per_s", "words per s"),
        ]);
    }
    // Subjects with stories of their own have folds of their own.
    let folds = if run.subject_splits.is_empty() { run.folds.as_slice() } else { &[] };
    let fold_of = |story: &String| folds.iter().position(|fold| fold.contains(story));
    let roles = run.split.test.iter().map(|s| (s, "test"));
    let rows = roles
        .chain(run.split.train.iter().map(|s| (s, "train")))
        .map(|(story, role)| {
            let fold = fold_of(story).filter(|_| role == "train");
            let fold = fold.map_or(words(""), |k| counted(k + 1));
            let mut cells = vec![words(story), words(role), fold];
            if has_properties {
                match drawn.results.properties.iter().find(|p| p.story == *story) {
                    Some(p) => cells.extend([
                        counted(p.n_trs as usize),
                        decimals(p.seconds, 0),
                        counted(p.n_words as usize),
                        decimals(p.words_per_s, 2),
                    ]),
                    None => cells.extend(std::array::from_fn::<_, 4, _>(|_| words("–"))),
                }
            }
            cells
        })
        .collect();
    Table {
        id: "split".into(),
        title: "Stories and split".into(),
        note: "Whole stories are held out: for the test, and fold by fold to choose alphas.".into(),
        file: "split.csv".into(),
        columns,
        rows,
        is_open: false,
    }
}

/// Each story's words against its scan.
pub fn stories_words(drawn: &Drawn<'_>) -> Option<Table> {
    let stories = drawn.results.run.words["stories"].as_array()?;
    let n = |value: &serde_json::Value| counted(value.as_u64().unwrap_or(0) as usize);
    let seconds =
        |span: &serde_json::Value, at: usize| decimals(span[at].as_f64().unwrap_or(f64::NAN), 1);
    let row = |story: &serde_json::Value| {
        let marks = story["marks"].as_object();
        let n_marks: u64 = marks.into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
        let (spoken, scan) = (&story["words_s"], &story["scan_s"]);
        vec![
            words(story["name"].as_str().unwrap_or_default()),
            n(&story["n_words"]),
            counted(n_marks as usize),
            n(&story["n_untimed"]),
            seconds(spoken, 0),
            seconds(spoken, 1),
            seconds(scan, 0),
            seconds(scan, 1),
            words(story["tier"].as_str().unwrap_or_default()),
        ]
    };
    let rows: Vec<Vec<Cell>> = stories.iter().take(MOST_ROWS).map(row).collect();
    (!rows.is_empty()).then(|| Table {
        id: "words-table".into(),
        title: "Words and scan".into(),
        note: "When each story's words begin and end, against the first and the last TR that is \
               kept, in seconds; marks that were dropped, and words without times."
            .into(),
        file: "words.csv".into(),
        columns: vec![
            text("story", "story"),
            number("n_words", "words"),
            number("n_marks", "marks"),
            number("n_untimed", "untimed"),
            number("first_word_s", "first word"),
            number("last_word_s", "last word"),
            number("first_tr_s", "first TR"),
            number("last_tr_s", "last TR"),
            text("tier", "tier"),
        ],
        rows,
        is_open: false,
    })
}

/// All differences between models.
pub fn comparisons(results: &Results) -> Option<Table> {
    let rows: Vec<Vec<Cell>> = results
        .comparisons
        .iter()
        .map(|c| {
            let mut cells = vec![words(&c.subject), words(&c.space_a), words(&c.space_b)];
            cells.extend([c.diff_mean, c.ci_low, c.ci_high].map(|v| scored(v, None)));
            cells
        })
        .collect();
    if rows.is_empty() || rows.len() > MOST_ROWS {
        return None;
    }
    Some(Table {
        id: "comparisons".into(),
        title: "All differences between models".into(),
        note: "Model a minus model b, mean over voxels and test stories; 95\u{a0}% bootstrap interval \
               over test stories."
            .into(),
        file: "comparisons.csv".into(),
        columns: vec![
            text("subject", "subject"),
            text("space_a", "model a"),
            text("space_b", "model b"),
            number("diff_mean", "a − b"),
            number("ci_low", "from"),
            number("ci_high", "to"),
        ],
        rows,
        is_open: false,
    })
}

/// Every split's summary.
pub fn stability(drawn: &Drawn<'_>) -> Option<Table> {
    let results = drawn.results;
    if results.stability.is_empty() || results.stability.len() > MOST_ROWS {
        return None;
    }
    let mut columns = vec![
        text("subject", "subject"),
        text("space", "space"),
        text("lagged", "delays"),
        number("split", "split"),
    ];
    columns.extend(score_columns().into_iter().take(6));
    let has_inner = results.stability.iter().any(|s| s.inner_mean.is_some());
    columns.extend(has_inner.then(|| number("inner_mean", "inner\u{a0}r")));
    let rows = results
        .stability
        .iter()
        .map(|s| {
            let mut cells = vec![
                words(&s.subject),
                space(drawn, &s.space),
                variant(s.lagged),
                counted(s.split as usize),
            ];
            let scores = [s.mean, s.median, s.top1, s.top5, s.top1_mean, s.top5_mean];
            cells.extend(scores.map(|v| scored(v, None)));
            cells.extend(has_inner.then(|| scored(s.inner_mean.unwrap_or(f64::NAN), None)));
            cells
        })
        .collect();
    Some(Table {
        id: "stability".into(),
        title: "Every random split".into(),
        note: String::new(),
        file: "stability.csv".into(),
        columns,
        rows,
        is_open: false,
    })
}

/// Noise ceilings.
pub fn noise_ceiling(drawn: &Drawn<'_>) -> Option<Table> {
    let results = drawn.results;
    let has_inner = results.noise_ceiling.iter().any(|c| c.inner_normalised_mean.is_some());
    let rows: Vec<Vec<Cell>> = results
        .noise_ceiling
        .iter()
        .map(|c| {
            let mut cells = vec![
                words(&c.subject),
                space(drawn, &c.space),
                variant(c.lagged),
                counted(c.n_stories as usize),
                repeats(c.n_repeats),
                counted(c.n_voxels_used as usize),
            ];
            let scores = [c.ceiling_mean, c.r_mean, c.normalised_mean, c.normalised_median];
            cells.extend(scores.map(|v| scored(v, None)));
            let inner = c.inner_normalised_mean.unwrap_or(f64::NAN);
            cells.extend(has_inner.then(|| scored(inner, None)));
            cells
        })
        .collect();
    let mut columns = vec![
        text("subject", "subject"),
        text("space", "space"),
        text("lagged", "delays"),
        number("n_stories", "stories"),
        number("n_repeats", "repeats"),
        number("n_voxels_used", "voxels"),
        number("ceiling_mean", "ceiling, mean"),
        number("r_mean", "r, mean"),
        number("normalised_mean", "r ÷ ceiling, mean"),
        number("normalised_median", "median"),
    ];
    columns.extend(has_inner.then(|| number("inner_normalised_mean", "inner r ÷ ceiling")));
    let mut note =
        "From repeats of test stories: the largest r that any model could have, and the \
                    share of it that was reached."
            .to_owned();
    if has_inner {
        note += " “Inner” is both without the TRs near the edges of the test stories.";
    }
    (!rows.is_empty()).then(|| Table {
        id: "noise-ceiling".into(),
        title: "Noise ceiling".into(),
        note,
        file: "noise-ceiling.csv".into(),
        columns,
        rows,
        is_open: true,
    })
}

/// An encoder sweep, as in its file.
pub fn sweep(results: &Results) -> Option<Table> {
    let cells = results.sweep.as_ref()?;
    let is_number = |c: usize| {
        cells.rows.iter().all(|row| row.get(c).is_none_or(|cell| cell.parse::<f64>().is_ok()))
    };
    let columns = cells.header.iter().enumerate().map(|(c, name)| Column {
        name: name.clone(),
        label: name.replace('_', " "),
        is_number: is_number(c),
    });
    Some(Table {
        id: "sweep".into(),
        title: "Encoder sweep".into(),
        note: "the last epoch of each point".into(),
        file: "sweep.csv".into(),
        columns: columns.collect(),
        rows: last_of_each_point(cells).map(|row| row.iter().map(|c| words(c)).collect()).collect(),
        is_open: true,
    })
}

/// A sweep has a row for each epoch; the last one of a point says what became of it.
fn last_of_each_point(cells: &Cells) -> impl Iterator<Item = &Vec<String>> {
    let point = cells.header.iter().position(|name| name == "point");
    let rows = cells.rows.iter().enumerate();
    rows.filter(move |(at, row)| {
        let next = cells.rows.get(at + 1);
        point.is_none_or(|c| next.is_none_or(|next| next.get(c) != row.get(c)))
    })
    .map(|(_, row)| row)
}
