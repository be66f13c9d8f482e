//! `report.html` and `voxelcast report`: what the page says, that it needs nothing else, and what
//! is refused.

use std::collections::HashMap;
use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

use super::workbench::{StudyBench, text, voxelcast};

/// The page as XML: it is written so that it is that too.
pub fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).expect("the page is well-formed")
}

pub fn all<'a, 'i>(document: &'a Document<'i>, tag: &'a str) -> impl Iterator<Item = Node<'a, 'i>> {
    document.descendants().filter(move |node| node.has_tag_name(tag))
}

pub fn words(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|n| n.text()).collect()
}

/// Everything that could make a browser ask for something: there is nothing.
#[track_caller]
pub fn needs_nothing(document: &Document<'_>) {
    for node in document.descendants().filter(Node::is_element) {
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            let is_reference =
                ["src", "srcset", "href", "action", "data", "poster", "background"].contains(&name);
            // The pixels of a map are in the page itself.
            let is_inside = value.starts_with('#')
                || node.has_tag_name("image") && value.starts_with("data:image/png;base64,");
            assert!(!is_reference || is_inside, "{name}=\"{value}\"");
            assert!(!value.contains("url("), "{name}=\"{value}\"");
            assert!(!name.starts_with("on"), "a handler in the markup: {name}");
        }
        let tag = node.tag_name().name();
        for forbidden in ["link", "img", "iframe", "object", "embed", "base", "use"] {
            assert_ne!(tag, forbidden);
        }
        if tag == "style" || tag == "script" {
            let body = words(node);
            for part in ["url(", "@import", "http:", "https:", "fetch(", "import("] {
                assert!(!body.contains(part), "{part} in <{tag}>");
            }
        }
    }
    for link in all(document, "a") {
        let target = link.attribute("href").expect("a link has a target").trim_start_matches('#');
        let hits = document.descendants().filter(|n| n.attribute("id") == Some(target)).count();
        assert_eq!(hits, 1, "#{target} is somewhere, once");
    }
}

/// No coordinate is missing, and every id stands once.
#[track_caller]
pub fn is_drawn_well(document: &Document<'_>) {
    let mut ids = HashMap::new();
    for node in document.descendants().filter(Node::is_element) {
        if let Some(id) = node.attribute("id") {
            assert_eq!(ids.insert(id.to_owned(), ()), None, "id {id} stands twice");
        }
        let is_mark = node.ancestors().any(|n| n.has_tag_name("svg"));
        for attribute in node.attributes().filter(|a| is_mark && a.name() != "aria-label") {
            let value = attribute.value();
            // Letters of a picture's bytes may spell anything.
            let is_number = !value.starts_with("data:");
            assert!(!is_number || !value.contains("NaN") && !value.contains("inf"), "{value}");
        }
    }
}

/// The rows of a table, by the names of its columns: (value of the file, text on the page).
pub fn rows(document: &Document<'_>, id: &str) -> Vec<HashMap<String, (String, String)>> {
    let table = document
        .descendants()
        .find(|n| n.attribute("id") == Some(&format!("table-{id}")))
        .unwrap_or_else(|| panic!("table {id} is on the page"));
    let names: Vec<&str> = table.descendants().filter_map(|n| n.attribute("data-name")).collect();
    let row = |row: Node<'_, '_>| {
        let cells: Vec<(String, String)> = row
            .children()
            .filter(|n| n.has_tag_name("td"))
            .map(|cell| {
                let shown = words(cell);
                (cell.attribute("data-v").unwrap_or(&shown).to_owned(), shown)
            })
            .collect();
        assert_eq!(cells.len(), names.len());
        names.iter().map(|n| (*n).to_owned()).zip(cells).collect()
    };
    let body = table.descendants().find(|n| n.has_tag_name("tbody")).expect("it has a body");
    body.children().filter(|n| n.has_tag_name("tr")).map(row).collect()
}

/// A CSV file as rows of column → cell.
fn csv_rows(path: &Path) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).expect("it is there");
    reader.deserialize().map(|row| row.expect("it is a table")).collect()
}

const SCORES: [&str; 6] = ["mean", "median", "top1", "top5", "top1_mean", "top5_mean"];

/// The row of the page is that of the file, and what is shown is its rounding.
#[track_caller]
fn is_same(shown: &HashMap<String, (String, String)>, file: &HashMap<String, String>) {
    for name in SCORES {
        let (value, text) = &shown[name];
        assert_eq!(*value, file[name], "{name} is the file's, digit for digit");
        let number: f64 = file[name].parse().expect("a number");
        let rounded = format!("{number:.4}");
        let rounded = if rounded == "-0.0000" { "0.0000".to_owned() } else { rounded };
        let rounded = if number.is_nan() { "–".to_owned() } else { rounded };
        assert_eq!(text.replace('−', "-"), rounded, "{name}");
    }
    assert_eq!(shown["n_voxels_used"].0, file["n_voxels_used"]);
}

#[test]
fn the_numbers_on_the_page_are_those_of_the_csv_files() {
    let bench = StudyBench::new(7, 70, 37);
    let (outcome, out) =
        bench.run(&["split.test = [\"story5\", \"story0\", \"story3\"]", "ridge.folds = 3"], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let html = std::fs::read_to_string(out.join("report.html")).expect("run writes the report");
    let document = parsed(&html);
    needs_nothing(&document);
    is_drawn_well(&document);

    let (summary, stories) =
        (csv_rows(&out.join("summary.csv")), csv_rows(&out.join("stories.csv")));
    let shown = rows(&document, "performance-table");
    assert_eq!(shown.len(), summary.len());
    for file in &summary {
        let key = ["subject", "space", "lagged"];
        let hits: Vec<_> =
            shown.iter().filter(|row| key.iter().all(|k| row[*k].0 == file[*k])).collect();
        assert_eq!(hits.len(), 1, "{file:?}");
        is_same(hits[0], file);
    }
    let number =
        |row: &HashMap<String, String>, name: &str| -> f64 { row[name].parse().expect("a number") };
    for subject in ["s1", "s2"] {
        let best = summary
            .iter()
            .filter(|row| row["subject"] == subject)
            .max_by(|a, b| number(a, "mean").total_cmp(&number(b, "mean")))
            .expect("there are models");
        let mut of_best: Vec<_> = stories
            .iter()
            .filter(|row| ["subject", "space", "lagged"].iter().all(|k| row[*k] == best[*k]))
            .collect();
        of_best.sort_by(|a, b| number(b, "mean").total_cmp(&number(a, "mean")));
        let shown = rows(&document, &format!("stories-{subject}"));
        assert_eq!(shown.len(), 3);
        for (row, file) in shown.iter().zip(of_best) {
            assert_eq!(row["story"].0, file["story"], "sorted by mean");
            is_same(row, file);
        }
        let shown = rows(&document, &format!("stories-all-{subject}"));
        assert_eq!(shown.len(), 3 * 8);
        // The first screen says which is best, and its mean.
        let cards = document.descendants().filter(|n| n.attribute("class") == Some("card"));
        let card = cards.map(words).find(|c| c.contains(subject)).expect("a card a subject");
        assert!(card.contains(&format!("{:.3}", number(best, "mean"))), "{card}");
        assert!(card.contains(&best["space"]), "{card}");
    }
    let run: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("run.json")).expect("there"))
            .expect("JSON");
    let first = words(all(&document, "header").next().expect("a first screen"));
    for part in ["2 subjects", "6 stories", "4 feature spaces", "37 voxels each"] {
        let squeezed = first.split_whitespace().collect::<Vec<_>>().join(" ");
        let (number, name) = part.split_once(' ').expect("two words");
        assert!(squeezed.contains(number) && squeezed.contains(name), "{part}: {squeezed}");
    }
    for warning in run["warnings"].as_array().expect("a list") {
        let warning = warning.as_str().expect("a sentence");
        let said = warning.split_once(": ").map_or(warning, |(_, rest)| rest);
        assert!(first.contains(said), "{warning}");
    }
    let split = rows(&document, "split");
    for (i, fold) in run["folds"].as_array().expect("lists").iter().enumerate() {
        for story in fold.as_array().expect("names") {
            let row = split.iter().find(|row| row["story"].0 == *story).expect("it is listed");
            assert_eq!(
                (row["role"].0.as_str(), row["fold"].0.clone()),
                ("train", (i + 1).to_string())
            );
        }
    }
}

#[test]
fn the_report_again_is_the_same_and_figures_are_files() {
    let bench = StudyBench::new(8, 60, 20);
    let (outcome, out) = bench.run(&["design.variants = [\"lagged\"]"], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let read = || std::fs::read(out.join("report.html")).expect("it is there");
    let first = read();
    std::fs::remove_file(out.join("report.html")).expect("removed");
    let figures = out.join("figures");
    let again = voxelcast(&["report", text(&out), "--figures", text(&figures), "--json"]);
    assert_eq!(again.code, 0, "{again:#?}");
    assert_eq!(read(), first);
    let document: Value = serde_json::from_str(&again.stdout).expect("one JSON document");
    assert_eq!(document["schema"], "voxelcast.report/1");
    assert_eq!(document["report"]["n_bytes"], first.len());
    let paths = document["report"]["figures"].as_array().expect("a list");
    assert!(paths.len() >= 10, "{paths:?}");
    for path in paths {
        let path = Path::new(path.as_str().expect("a path"));
        let bytes = std::fs::read(path).expect("it was written");
        if path.extension().is_some_and(|ext| ext == "png") {
            assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", path.display());
            assert!(path.with_extension("svg").is_file());
        } else {
            let svg = String::from_utf8(bytes).expect("UTF-8");
            let document = Document::parse(&svg).expect("well-formed");
            is_drawn_well(&document);
            assert!(!svg.contains("var("), "colours are written out: {}", path.display());
        }
    }
    // A run that finds itself finished brings the page back, and only that.
    std::fs::remove_file(out.join("report.html")).expect("removed");
    let run = bench.run_into(&out, &["design.variants = [\"lagged\"]"], &[]);
    assert!(run.code == 0 && run.stderr.contains("finished before"), "{run:#?}");
    assert_eq!(read(), first);
}

#[test]
fn a_folder_without_a_whole_run_is_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let report = |out: &Path| voxelcast(&["report", text(out)]);
    report(folder.path()).refused(3, &["holds no finished run", "run.json"]);
    report(&folder.path().join("no")).refused(3, &["holds no finished run"]);
    assert_eq!(voxelcast(&["report"]).code, 2, "DIR is required");

    let bench = StudyBench::new(9, 60, 12);
    let (outcome, out) = bench.run(&[GLOVE], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let damaged = |name: &str, change: &dyn Fn(Vec<u8>) -> Option<Vec<u8>>, said: &[&str]| {
        let path = out.join(name);
        let old = std::fs::read(&path).expect("it is there");
        match change(old.clone()) {
            Some(new) => std::fs::write(&path, new).expect("written"),
            None => std::fs::remove_file(&path).expect("removed"),
        }
        let mut parts = vec![path.file_name().expect("a name").to_str().expect("UTF-8")];
        parts.extend(said);
        report(&out).refused(3, &parts);
        std::fs::write(&path, old).expect("written");
    };
    damaged("summary.csv", &|_| None, &["cannot read"]);
    damaged("stories.csv", &|_| None, &["cannot read"]);
    damaged("run.json", &|old| Some(old[..old.len() / 2].to_vec()), &["run the study again"]);
    damaged("summary.csv", &|_| Some(b"subject,space\n".to_vec()), &["holds no model"]);
    damaged(
        "summary.csv",
        &|old| Some(String::from_utf8(old).expect("UTF-8").replace("true", "perhaps").into_bytes()),
        &["line"],
    );
    let scores = "models/s1/glove-lagged/test_correlation.npy";
    damaged(scores, &|_| None, &["cannot read"]);
    damaged(scores, &|old| Some(old[..old.len() - 4].to_vec()), &[]);
    std::fs::write(out.join("cv_curve.csv"), "subject,space\ns1,glove\n").expect("written");
    report(&out).refused(3, &["cv_curve.csv"]);
    std::fs::remove_file(out.join("cv_curve.csv")).expect("removed");
    assert_eq!(report(&out).code, 0);
}

const GLOVE: &str = super::workbench::GLOVE_ONLY;

#[test]
fn the_demo_finds_what_was_planted_and_its_report_is_small() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let out = folder.path().join("demo");
    let outcome = voxelcast(&["demo", "--out", text(&out)]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    super::null_and_planted::demo_finds_what_was_planted(&out);
    let html = std::fs::read_to_string(out.join("report.html")).expect("it is there");
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
    let document = parsed(&html);
    needs_nothing(&document);
    is_drawn_well(&document);
    // Nothing of a brain without a mask; a dot for each pair of the five splits.
    let has = |id: &str| document.descendants().any(|n| n.attribute("id") == Some(id));
    assert!(!has("brain-maps") && has("overlap-splits"));
    for id in ["spaces", "voxels", "stories", "timing", "study"] {
        assert!(document.descendants().any(|n| n.attribute("id") == Some(id)), "{id}");
    }
}

#[test]
fn a_sweep_is_drawn_from_its_files_and_the_table_has_the_last_epoch_of_each_point() {
    let bench = StudyBench::new(10, 60, 12);
    let (outcome, out) = bench.run(&[GLOVE], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let report = || {
        let outcome = voxelcast(&["report", text(&out)]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        std::fs::read_to_string(out.join("report.html")).expect("it is there")
    };
    assert!(!report().contains("id=\"encoder\""));
    let sweep = out.join("sweep");
    let space = out.join("encoders/mlm");
    std::fs::create_dir_all(&sweep).expect("made");
    std::fs::create_dir_all(&space).expect("made");
    let mut lines = String::from(
        "point,heads,layers,hidden,intermediate,p_mlm,seed,epoch,train_loss,val_loss,\
         best_val_loss,stopped_early,chosen\n",
    );
    for (point, heads) in [(0, 1), (1, 2), (2, 4)] {
        for epoch in 1..=4 {
            let loss = 6.0 - 0.25 * f64::from(epoch) - 0.125 * f64::from(heads);
            lines += &format!(
                "{point},{heads},2,128,256,0.15,7,{epoch},{loss},{},{},false,{}\n",
                loss + 0.5,
                loss + 0.5,
                heads == 4
            );
        }
    }
    std::fs::write(sweep.join("sweep.csv"), &lines).expect("written");
    std::fs::write(sweep.join("baseline.json"), "{\"unigram_loss\": 6.75}").expect("written");
    let log = "epoch,step,train_loss,val_loss,tokens_per_s,lr\n1,10,5.5,,100,1e-4\n1,20,5.25,5.75,100,1e-4\n";
    std::fs::write(space.join("train_log.csv"), log).expect("written");
    let html = report();
    let document = parsed(&html);
    needs_nothing(&document);
    is_drawn_well(&document);
    let figure = |id: &str| {
        let found = document.descendants().find(|n| n.attribute("id") == Some(id));
        words(found.unwrap_or_else(|| panic!("{id} is drawn")))
    };
    let curves = figure("fig-sweep-curves");
    for part in ["1 head, 2 layers", "4 heads, 2 layers", "words by frequency alone", "3 points"] {
        assert!(curves.contains(part), "{part}: {curves}");
    }
    let heat = figure("fig-sweep-layers-heads");
    // Last epochs: 6 − 1 + ½ less an eighth a head.
    for loss in ["5.375", "5.250", "5.000"] {
        assert!(heat.contains(loss), "{loss}: {heat}");
    }
    assert!(figure("fig-training-mlm").contains("2 logged steps"));
    let table = rows(&document, "sweep");
    let file: Vec<_> = csv_rows(&sweep.join("sweep.csv"));
    let last: Vec<_> = file.iter().filter(|row| row["epoch"] == "4").collect();
    assert_eq!(table.len(), 3);
    for (row, file) in table.iter().zip(last) {
        for (name, cell) in file {
            assert_eq!(row[name].0, *cell, "{name}");
        }
    }
    std::fs::write(sweep.join("baseline.json"), "{}").expect("written");
    voxelcast(&["report", text(&out)]).refused(3, &["baseline.json", "unigram_loss"]);
}
