//! The page: one HTML file that needs nothing else.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;

use super::answer::{answer, listed};
use super::data::Results;
use super::figures::scale::count;
use super::figures::standalone::{DARK, LIGHT, STYLE, declarations};
use super::figures::svg::coord;
use super::figures::{Drawn, Figure, Group};
use super::sections::{Section, sections};
use super::tables::{Table, split, stories_words};
use crate::error::{Error, Result};

const TEMPLATE: &str = include_str!("page/report.html");
const CSS: &str = include_str!("page/report.css");
const SCRIPT: &str = include_str!("page/report.js");

/// A number with its name.
#[derive(Debug, Clone, Serialize)]
struct Fact {
    name: &'static str,
    number: String,
    detail: String,
}

/// A warning: its kind, its text, and whether everything else hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Note {
    kind: &'static str,
    text: String,
    is_grave: bool,
}

/// Kinds of warnings by what their sentence holds, most serious first.
const KINDS: [(&str, &str, bool); 13] = [
    ("alignment:", "Alignment", true),
    ("timing:", "Timing", true),
    ("bold:", "BOLD", false),
    ("words:", "Words", false),
    ("position:", "Story edges", false),
    ("delays:", "Delays", false),
    ("vectors:", "Word vectors", false),
    ("conditioning:", "Conditioning", false),
    ("alpha edge:", "Alpha grid", false),
    ("coverage:", "Coverage", false),
    ("averaged in", "Repeat-averaged test stories", false),
    ("are left out (NaN", "Masked voxels", false),
    ("stories left out", "Stories left out", false),
];

/// The page as one string; the same results give the same bytes.
/// # Errors
/// `Error::Numerical` if the template does not fit: a bug of ours.
pub fn page(results: &Results) -> Result<String> {
    let drawn = Drawn::new(results);
    let sections = sections(results);
    let root = format!(
        ":root{{color-scheme:light dark;{}}}@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}",
        declarations(&LIGHT),
        declarations(&DARK)
    );
    let css = format!("{root}\n{CSS}\n{}", scoped(STYLE));
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let fail = |error: minijinja::Error| Error::Numerical {
        what: "writing report.html".into(),
        problem: format!("{error:#}"),
    };
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(fail)?);
    environment.add_template("report.html", TEMPLATE).map_err(fail)?;
    let template = environment.get_template("report.html").map_err(fail)?;
    template
        .render(context! {
            css => Value::from_safe_string(css),
            script => Value::from_safe_string(SCRIPT.to_owned()),
            title => title(results),
            answer => Value::from(Serde(answer(results))),
            facts => Value::from(Serde(facts(results))),
            notes => Value::from(Serde(notes(&[&results.run.warnings[..], &results.run.notes].concat()))),
            sections => sections.iter().map(shown).collect::<Result<Vec<_>>>()?,
            split => Value::from(Serde(split(&drawn))),
            words => stories_words(&drawn).map(|words| Value::from(Serde(words))),
            settings => Value::from(Serde(settings(results))),
            version => results.run.version.as_str(),
            commit => results.run.commit.as_str(),
            device => results.run.device.as_str(),
        })
        .map_err(fail)
}

/// The drawings' rules, for SVG alone.
fn scoped(style: &str) -> String {
    style.lines().map(|line| format!("svg {line}\n")).collect()
}

/// A section as the template takes it.
fn shown(section: &Section) -> Result<Value> {
    let figure = |figure: &Figure| -> Result<Value> {
        let [w, h] = [figure.size.0, figure.size.1].map(coord);
        Ok(context! {
            id => figure.id.as_str(), label => figure.label.as_str(),
            note => figure.note.as_str(),
            width => w, height => h,
            body => Value::from_safe_string(figure.marks()?),
        })
    };
    let group = |group: &Group| -> Result<Value> {
        let is_wide = group.figures.len() == 1 && group.figures[0].size.0 > 600.0;
        Ok(context! {
            id => group.id.as_str(), title => group.title.as_str(),
            caption => group.caption.as_str(), is_wide => is_wide,
            figures => group.figures.iter().map(figure).collect::<Result<Vec<_>>>()?,
        })
    };
    let tables: &[Table] = &section.tables;
    Ok(context! {
        id => section.id, title => section.title,
        groups => section.groups.iter().map(group).collect::<Result<Vec<_>>>()?,
        tables => Value::from(Serde(tables)),
    })
}

fn title(results: &Results) -> String {
    let subjects: Vec<String> =
        results.subjects().iter().take(6).map(|s| (*s).to_owned()).collect();
    let n = results.run.spaces.len();
    format!("{} · {n} feature {}", listed(&subjects), if n == 1 { "space" } else { "spaces" })
}

fn facts(results: &Results) -> Vec<Fact> {
    let run = &results.run;
    let subjects = results.subjects();
    let few = |names: Vec<String>| match names.len() {
        0..=8 => names.join(", "),
        n => format!("{}, … ({} more)", names[..8].join(", "), n - 8),
    };
    let (train, test) = (run.split.train.len(), run.split.test.len());
    let voxels: Vec<String> =
        subjects.iter().map(|s| count(run.subjects.get(s).copied().unwrap_or(0))).collect();
    let is_same = voxels.iter().all(|n| Some(n) == voxels.first());
    let dead = subjects
        .iter()
        .filter_map(|s| run.voxels.get(s))
        .flat_map(|v| [v.n_constant, v.n_not_finite])
        .fold(0, usize::saturating_add);
    let dead = if dead == 0 { "none masked".into() } else { format!("{} masked", count(dead)) };
    let names = |values: &mut dyn Iterator<Item = String>| few(values.collect());
    vec![
        Fact {
            name: if subjects.len() == 1 { "subject" } else { "subjects" },
            number: subjects.len().to_string(),
            detail: names(&mut subjects.iter().map(|s| (*s).to_owned())),
        },
        Fact {
            name: if train + test == 1 { "story" } else { "stories" },
            number: count(train + test),
            detail: format!(
                "{train} to train ({} TRs), {test} to test ({} TRs){}",
                count(run.n_train_trs),
                count(run.n_test_trs),
                words(&run.words)
            ),
        },
        Fact {
            name: if run.spaces.len() == 1 { "feature space" } else { "feature spaces" },
            number: run.spaces.len().to_string(),
            detail: names(&mut run.spaces.iter().map(|s| s.name.clone())),
        },
        Fact {
            name: if is_same { "voxels each" } else { "voxels" },
            number: if is_same { voxels.first().cloned().unwrap_or_default() } else { few(voxels) },
            detail: dead,
        },
    ]
}

/// Words of the stories, as the end of a sentence.
fn words(words: &serde_json::Value) -> String {
    let n = |key: &str| words[key].as_u64().unwrap_or(0) as usize;
    let [n_words, n_marks, n_untimed] = ["n_words", "n_marks", "n_untimed"].map(n);
    let mut text = if n_words == 0 { String::new() } else { format!("; {} words", count(n_words)) };
    for (n, what) in [(n_marks, "marks dropped"), (n_untimed, "words without times")] {
        if n > 0 {
            text += &format!(", {} {what}", count(n));
        }
    }
    text
}

/// Warnings, the grave ones first, then by kind.
fn notes(warnings: &[String]) -> Vec<Note> {
    let kind = |text: &String| KINDS.iter().position(|(part, _, _)| text.contains(part));
    let mut notes: Vec<(usize, Note)> = warnings
        .iter()
        .map(|text| {
            let at = kind(text);
            let (name, is_grave) = at.map_or(("Note", false), |k| (KINDS[k].1, KINDS[k].2));
            let start = at.map_or("", |k| KINDS[k].0);
            let rest = text.strip_prefix(start).unwrap_or(text).trim_start().to_owned();
            let rest = if start.ends_with(':') { capital(&rest) } else { capital(text) };
            (at.unwrap_or(KINDS.len()), Note { kind: name, text: rest, is_grave })
        })
        .collect();
    notes.sort_by_key(|(place, _)| *place);
    notes.into_iter().map(|(_, note)| note).collect()
}

/// A sentence's first letter; names of files and subjects keep theirs.
fn capital(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    if first.ends_with(':') || !first.bytes().all(|b| b.is_ascii_lowercase()) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
}

/// Settings as pairs of name and value.
fn settings(results: &Results) -> Vec<(String, String)> {
    let run = &results.run;
    let mut pairs: Vec<(String, String)> = Vec::new();
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) if items.iter().all(|i| !i.is_array()) => {
            let items: Vec<String> = items.iter().map(|i| i.to_string().replace('"', "")).collect();
            items.join(", ")
        }
        serde_json::Value::Array(_) => "lists of story names".to_owned(),
        other => other.to_string(),
    };
    for (name, value) in &run.settings {
        match value {
            serde_json::Value::Object(inner) => {
                for (key, value) in inner {
                    pairs.push((format!("{name} {key}").replace('_', " "), text(value)));
                }
            }
            serde_json::Value::Null => {}
            other => pairs.push((name.replace('_', " "), text(other))),
        }
    }
    if let (Some(first), Some(last)) = (run.alphas.first(), run.alphas.last()) {
        let n = run.alphas.len();
        pairs.push(("alphas".into(), format!("{n} from {first:e} to {last:e}")));
    }
    pairs.push(("seed of the split".into(), run.seed.to_string()));
    if let Some(total) = run.timings_s.get("total") {
        pairs.push(("seconds".into(), format!("{total:.1}")));
    }
    pairs.push(("threads".into(), run.threads.to_string()));
    pairs.push(("peak memory".into(), format!("{} MiB", run.peak_memory_bytes >> 20)));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_named_and_the_grave_ones_come_first() {
        let warnings = [
            "s1: 2 constant and 0 NaN or infinite voxels of 9 are left out (NaN in the results)",
            "alpha edge: s1: the best alpha of some voxels is at an end",
            "alignment: the BOLD is best predicted by features -3 TRs before it",
            "something new",
        ];
        let notes = notes(&warnings.map(str::to_owned));
        let kinds: Vec<&str> = notes.iter().map(|note| note.kind).collect();
        assert_eq!(kinds, ["Alignment", "Alpha grid", "Masked voxels", "Note"]);
        assert!(notes[0].is_grave && !notes[1].is_grave);
        assert!(notes[0].text.starts_with("The BOLD is best"));
        assert_eq!(notes[3].text, "Something new");
    }
}
