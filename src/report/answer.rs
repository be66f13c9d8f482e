//! The study's answer in a sentence, and a line for each subject.

use serde::Serialize;

use super::ScoreRow;
use super::data::{Results, folder};
use super::figures::scale::{count, short};

/// What the first screen says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The sentence, in pieces: some are names of spaces.
    pub headline: Vec<Piece>,
    /// A line for each subject.
    pub subjects: Vec<SubjectAnswer>,
}

/// A piece of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// The words.
    pub text: String,
    /// Whether they are the answer.
    pub is_key: bool,
}

/// What is said of one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubjectAnswer {
    /// The subject.
    pub subject: String,
    /// Its best model; empty where no model has a score.
    pub model: String,
    /// Its mean r.
    pub mean: String,
    /// By how much it is ahead of which space.
    pub lead: String,
    /// Voxels above chance.
    pub above: String,
    /// The share of voxels above chance, 0 to 100, where it was tested.
    pub share: Option<f64>,
}

fn plain(text: &str) -> Piece {
    Piece { text: text.to_owned(), is_key: false }
}

fn key(text: &str) -> Piece {
    Piece { text: text.to_owned(), is_key: true }
}

/// The answer; every number in it stands in a file.
pub fn answer(results: &Results) -> Answer {
    let subjects = results.subjects();
    let bests: Vec<Option<&ScoreRow>> = subjects.iter().map(|s| results.best(s)).collect();
    Answer {
        headline: headline(results, &subjects, &bests),
        subjects: subjects.iter().map(|subject| of_subject(results, subject)).collect(),
    }
}

fn headline(results: &Results, subjects: &[&str], bests: &[Option<&ScoreRow>]) -> Vec<Piece> {
    let found: Vec<&ScoreRow> = bests.iter().copied().flatten().collect();
    let Some(first) = found.first() else {
        return vec![plain("No model has a score: no voxel could be tested.")];
    };
    let label = |row: &ScoreRow| results.model_label(&row.space, row.lagged);
    let is_same = found.iter().all(|row| row.space == first.space && row.lagged == first.lagged);
    let mut pieces = match (is_same, subjects.len()) {
        (true, 1) => vec![key(&label(first)), plain(" predicts best")],
        (true, 2) => vec![key(&label(first)), plain(" predicts best in both subjects")],
        (true, n) => {
            vec![key(&label(first)), plain(&format!(" predicts best in all {n} subjects"))]
        }
        (false, _) => {
            let mut pieces = vec![plain("Subjects differ: ")];
            for (i, row) in found.iter().take(4).enumerate() {
                let before = if i == 0 { "" } else { ", " };
                pieces.push(plain(before));
                pieces.push(key(&label(row)));
                pieces.push(plain(&format!(" predicts best in {}", row.subject)));
            }
            if found.len() > 4 {
                pieces.push(plain(", …"));
            }
            pieces
        }
    };
    let means: Vec<String> = found.iter().take(4).map(|row| short(row.scores.mean)).collect();
    pieces.push(plain(&format!(": mean r {}", listed(&means))));
    if let Some(lead) = led(results, &found) {
        pieces.push(plain(&lead));
    }
    let above: Vec<(String, String)> = found
        .iter()
        .take(4)
        .filter_map(|row| {
            let s = results.significance_of(row)?;
            Some((count(s.n_significant), count(row.scores.n_voxels_used)))
        })
        .collect();
    pieces.push(plain("."));
    if let Some((_, n)) = above.first() {
        let is_same = above.iter().all(|(_, other)| other == n);
        let each = |(some, of): &(String, String)| match is_same {
            true => some.clone(),
            false => format!("{some} of {of}"),
        };
        let text = listed(&above.iter().map(each).collect::<Vec<_>>());
        let of = if is_same { format!(" of {n}") } else { String::new() };
        pieces.push(plain(&format!(" {text}{of} voxels are above chance.")));
    }
    pieces.extend(order_inside(results, &found).map(|sentence| plain(&sentence)));
    pieces
}

/// Where another model of the same variant leads once the edges of the test stories are left out.
fn order_inside(results: &Results, found: &[&ScoreRow]) -> Option<String> {
    let inner = |row: &ScoreRow| row.inner.map_or(f64::NAN, |inner| inner.inner_mean);
    let other = |best: &ScoreRow| {
        let all = results.ranked(&best.subject, best.lagged).into_iter();
        let ahead = all.filter(|row| inner(row) - inner(best) >= LEVEL);
        ahead.max_by(|a, b| inner(a).total_cmp(&inner(b)))
    };
    let pair = |best: &&ScoreRow| {
        let row = other(best)?;
        let numbers = format!("{} against {}", short(inner(row)), short(inner(best)));
        let label = results.model_label(&row.space, row.lagged);
        Some((label, format!("{numbers} in {}", row.subject)))
    };
    let all: Vec<(String, String)> = found.iter().take(4).filter_map(pair).collect();
    let (first, _) = all.first()?;
    let sentence = match all.iter().all(|(label, _)| label == first) {
        true => {
            let numbers: Vec<String> = all.iter().map(|(_, numbers)| numbers.clone()).collect();
            format!("{first} predicts best: {}", listed(&numbers))
        }
        false => {
            let each = |(label, numbers): &(String, String)| format!("{label} leads, {numbers}");
            all.iter().map(each).collect::<Vec<_>>().join("; ")
        }
    };
    Some(format!(" Without the TRs near the edges of the test stories {sentence}."))
}

/// `, 0.002 and 0.003 ahead of bow`.
fn led(results: &Results, found: &[&ScoreRow]) -> Option<String> {
    let pairs: Vec<_> = found.iter().take(4).filter_map(|row| runner_up(results, row)).collect();
    let (_, first) = pairs.first()?;
    let is_same = pairs.iter().all(|(_, next)| next.space == first.space);
    let name = if is_same { first.space.as_str() } else { "the next space" };
    let leads: Vec<f64> = pairs.iter().map(|(a, b)| a.scores.mean - b.scores.mean).collect();
    if leads.iter().all(|lead| *lead < LEVEL) {
        return Some(format!(", level with {name}"));
    }
    let leads: Vec<String> = leads.into_iter().map(short).collect();
    Some(format!(", {} ahead of {name}", listed(&leads)))
}

/// A lead that three decimals do not show.
const LEVEL: f64 = 0.0005;

/// The best model of the next space, of the same variant.
fn runner_up<'a>(results: &'a Results, best: &'a ScoreRow) -> Option<(&'a ScoreRow, &'a ScoreRow)> {
    let ranked = results.ranked(&best.subject, best.lagged);
    let next = ranked.into_iter().find(|row| row.space != best.space)?;
    (!next.scores.mean.is_nan()).then_some((best, next))
}

fn of_subject(results: &Results, subject: &str) -> SubjectAnswer {
    let mut answer = SubjectAnswer {
        subject: subject.to_owned(),
        model: String::new(),
        mean: short(f64::NAN),
        lead: String::new(),
        above: String::new(),
        share: None,
    };
    let Some(best) = results.best(subject) else { return answer };
    answer.model = results.model_label(&best.space, best.lagged);
    answer.mean = short(best.scores.mean);
    if let Some((_, next)) = runner_up(results, best) {
        let lead = best.scores.mean - next.scores.mean;
        answer.lead = match lead < LEVEL {
            true => format!("level with {}", next.space),
            false => format!("{} ahead of {}", short(lead), next.space),
        };
        if let Some(interval) = interval(results, best, next) {
            answer.lead += &interval;
        }
    }
    if let Some(s) = results.significance_of(best) {
        let n = best.scores.n_voxels_used;
        let share = 100.0 * s.n_significant as f64 / n.max(1) as f64;
        answer.above = format!(
            "{} of {} voxels above chance ({share:.0}\u{a0}%, FDR q\u{a0}=\u{a0}{})",
            count(s.n_significant),
            count(n),
            s.q
        );
        answer.share = Some(share);
    }
    answer
}

/// The bootstrap interval of a difference, where it was computed.
fn interval(results: &Results, best: &ScoreRow, next: &ScoreRow) -> Option<String> {
    let (a, b) = (folder(&best.space, best.lagged), folder(&next.space, next.lagged));
    let text = |low: f64, high: f64| {
        format!(" (95\u{a0}% interval over stories {} to {})", short(low), short(high))
    };
    results.comparisons.iter().filter(|c| c.subject == best.subject).find_map(|c| {
        if c.space_a == a && c.space_b == b {
            Some(text(c.ci_low, c.ci_high))
        } else if c.space_a == b && c.space_b == a {
            Some(text(-c.ci_high, -c.ci_low))
        } else {
            None
        }
    })
}

/// `a`, `a and b`, `a, b and c`.
pub fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [many @ .., last] => format!("{} and {last}", many.join(", ")),
    }
}
