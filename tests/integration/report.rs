//! `report.html` and `voxelcast report`: what the page says, that it needs nothing else, that it
//! bears hostile names, and what is refused.

use std::collections::HashMap;
use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;
use voxelcast::report::ScoreRow;
use voxelcast::report::data::{
    Brain, Cells, Comparison, CvPoint, Extremes, Learning, ModelInfo, Overlap, Place, Results,
    RunInfo, Significance, SpaceInfo, SplitNames, SplitScores, StoryProperties, SweepEpoch,
    TrainStep, VoxelScores,
};
use voxelcast::report::figures::png::Painter;
use voxelcast::report::figures::standalone;
use voxelcast::report::page::page;
use voxelcast::report::sections::{figures, sections};
use voxelcast::scoring::Summary;

use super::workbench::{StudyBench, text, voxelcast};

/// The page as XML: it is written so that it is that too.
fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).expect("the page is well-formed")
}

fn all<'a, 'i>(document: &'a Document<'i>, tag: &'a str) -> impl Iterator<Item = Node<'a, 'i>> {
    document.descendants().filter(move |node| node.has_tag_name(tag))
}

fn words(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|n| n.text()).collect()
}

/// Everything that could make a browser ask for something: there is nothing.
#[track_caller]
fn needs_nothing(document: &Document<'_>) {
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
fn is_drawn_well(document: &Document<'_>) {
    let mut ids = HashMap::new();
    for node in document.descendants().filter(Node::is_element) {
        if let Some(id) = node.attribute("id") {
            assert_eq!(ids.insert(id.to_owned(), ()), None, "id {id} stands twice");
        }
        let is_mark = node.ancestors().any(|n| n.has_tag_name("svg"));
        for attribute in node.attributes().filter(|a| is_mark && a.name() != "aria-label") {
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
        }
    }
}

/// The rows of a table, by the names of its columns: (value of the file, text on the page).
fn rows(document: &Document<'_>, id: &str) -> Vec<HashMap<String, (String, String)>> {
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

/// Results without a run: any names, any scores.
fn made(
    subjects: &[&str],
    spaces: &[String],
    stories: &[String],
    n_voxels: usize,
    score: impl Fn(usize, usize, usize) -> f32,
) -> Results {
    let mut results = Results {
        run: RunInfo {
            split: SplitNames { train: stories.to_vec(), test: stories.to_vec() },
            folds: vec![stories.to_vec()],
            spaces: spaces
                .iter()
                .map(|name| SpaceInfo { name: name.clone(), ..SpaceInfo::default() })
                .collect(),
            warnings: vec!["alignment: <b>\"quoted\"</b> & 'odd'".into()],
            alphas: vec![1.0, 10.0, 100.0],
            ..RunInfo::default()
        },
        ..Results::default()
    };
    for lagged in [true, false] {
        for space in spaces {
            let folder = format!("{space}{}", if lagged { "-lagged" } else { "" });
            let model = ModelInfo { folder, delays: vec![1], n_coefs: 4, condition: None };
            results.run.models.push(model);
        }
    }
    for (s, subject) in subjects.iter().enumerate() {
        for lagged in [true, false] {
            for (i, space) in spaces.iter().enumerate() {
                add_model(&mut results, (subject, space, lagged), n_voxels, |v| score(s, i, v));
            }
        }
        let r = || (0..n_voxels).map(|v| score(s, 0, v)).collect();
        results.extremes.push(Extremes {
            subject: (*subject).to_owned(),
            model: spaces[0].clone(),
            best: (stories[0].clone(), r()),
            worst: (stories[stories.len() - 1].clone(), r()),
        });
        let place = match s {
            0 => Place::Volume {
                positions: (0..n_voxels as u32).map(|v| [v % 7, v / 7 % 5, v / 35]).collect(),
                x_is_right: false,
            },
            _ => Place::Flat { pixels: (0..n_voxels as u32).map(|v| [v / 9, v % 9, v]).collect() },
        };
        results.brains.push(Brain { subject: (*subject).to_owned(), place });
    }
    results
}

/// A sweep over heads, layers and the share of masked words, and one training.
fn add_encoder(results: &mut Results, name: &str) {
    let header = ["point", "heads", "layers", "epoch", "val_loss"].map(str::to_owned).to_vec();
    let mut cells = Cells { header, rows: Vec::new() };
    for point in 0..8u64 {
        let (heads, layers) = (1 + point % 2, 1 + point / 2 % 2);
        for epoch in 1..=3 {
            let loss = 7.0 - 0.1 * (epoch * (1 + point)) as f64;
            let val_loss = (point != 3).then_some(loss);
            let point = format!("{name}{point}");
            cells.rows.push(
                [heads.to_string(), layers.to_string(), epoch.to_string(), format!("{loss}")]
                    .into_iter()
                    .fold(vec![point.clone()], |mut row, cell| {
                        row.push(cell);
                        row
                    }),
            );
            results.sweep_points.push(SweepEpoch {
                point,
                heads,
                layers,
                hidden: 64 * heads,
                intermediate: 256,
                p_mlm: if layers > 1 { 0.15 } else { 0.1 },
                epoch: epoch as f64,
                train_loss: Some(loss),
                val_loss,
                best_val_loss: val_loss,
            });
        }
    }
    results.sweep = Some(cells);
    results.unigram_loss = Some(6.9);
    let step = |epoch: f64, val_loss| TrainStep { epoch, train_loss: Some(5.0), val_loss };
    results.train_logs = vec![(name.to_owned(), vec![step(1.0, None), step(2.0, Some(5.5))])];
}

/// One model with everything that can be said of it.
fn add_model(
    results: &mut Results,
    (subject, space, lagged): (&str, &str, bool),
    n_voxels: usize,
    score: impl Fn(usize) -> f32,
) {
    let r: Vec<f32> = (0..n_voxels).map(score).collect();
    let (subject, space) = (subject.to_owned(), space.to_owned());
    let scores = Summary::of(&r);
    let row = |story: Option<String>| ScoreRow {
        subject: subject.clone(),
        space: space.clone(),
        lagged,
        story,
        scores,
    };
    let mean = scores.mean;
    results.summary.push(row(None));
    let stories = results.run.split.test.clone();
    results.stories.extend(stories.iter().map(|story| row(Some(story.clone()))));
    let folder = format!("{space}{}", if lagged { "-lagged" } else { "" });
    results.significance.push(Significance {
        subject: subject.clone(),
        space: space.clone(),
        lagged,
        n_significant: n_voxels / 2,
        q: 0.05,
        permutations: 1000,
    });
    let other = results.summary[0].space.clone() + "-lagged";
    results.comparisons.push(Comparison {
        subject: subject.clone(),
        space_a: other.clone(),
        space_b: folder.clone(),
        diff_mean: mean,
        ci_low: f64::NAN,
        ci_high: mean,
    });
    results.overlap.push(Overlap {
        subject: subject.clone(),
        kind: "spaces".into(),
        a: other,
        b: folder.clone(),
        jaccard: 0.5,
        model: String::new(),
    });
    let splits = |a: u64, b: u64| Overlap {
        subject: subject.clone(),
        kind: "splits".into(),
        a: a.to_string(),
        b: b.to_string(),
        jaccard: 0.25,
        model: folder.clone(),
    };
    results.overlap.extend([splits(1, 2), splits(1, 3), splits(2, 3)]);
    for story in stories.iter().take(40) {
        results.stability_stories.push(SplitScores {
            subject: subject.clone(),
            space: space.clone(),
            lagged,
            split: 1,
            story: story.clone(),
            mean,
            ..SplitScores::default()
        });
    }
    results.stability.push(SplitScores {
        subject: subject.clone(),
        space: space.clone(),
        lagged,
        split: 1,
        mean,
        ..SplitScores::default()
    });
    results.learning.push(Learning {
        subject: subject.clone(),
        space: space.clone(),
        lagged,
        n_stories: 1,
        n_trs: 10,
        mean,
    });
    for alpha in [1.0, 10.0, 100.0] {
        results.cv_curve.push(CvPoint {
            subject: subject.clone(),
            space: space.clone(),
            lagged,
            alpha,
            mean_cv_score: mean,
            n_best: n_voxels,
        });
    }
    results.voxels.push(VoxelScores { subject, space, lagged, r });
}

fn with_properties(mut results: Results) -> Results {
    let property = |(i, story): (usize, &String)| StoryProperties {
        story: story.clone(),
        n_trs: 100,
        seconds: 100.0 + i as f64,
        n_words: 300,
        words_per_s: 3.0,
        role: "test".into(),
    };
    results.properties = results.run.split.test.iter().enumerate().map(property).collect();
    results
}

/// Page and figures of these results are whole, whatever they are called.
#[track_caller]
fn stands(results: &Results) -> String {
    let html = page(results).expect("it is written");
    assert_eq!(page(results).expect("again"), html, "the same results give the same bytes");
    let document = parsed(&html);
    needs_nothing(&document);
    is_drawn_well(&document);
    let scripts: Vec<String> = all(&document, "script").map(words).collect();
    assert!(scripts.len() == 1 && scripts[0].trim_start().starts_with("\"use strict\""));
    for (figure, title) in figures(&sections(results)) {
        let svg = standalone::file(figure, title).expect("it is drawn");
        is_drawn_well(&Document::parse(&svg).expect("well-formed"));
    }
    html
}

#[test]
fn hostile_names_stay_text() {
    let names = [
        "<script>alert(1)</script>",
        "\"quotes\" & 'more' --> ]]>",
        "ünïcödé 故事 🧠 {{ 123457 * 8 }} {% raw %}",
    ];
    let long = "a very long name of a story ".repeat(40);
    let stories: Vec<String> = names.iter().map(|n| (*n).to_owned()).chain([long]).collect();
    let spaces: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let score = |s: usize, i: usize, v: usize| ((s + 2 * i + 3 * v) % 7) as f32 / 10.0 - 0.2;
    let mut results = with_properties(made(&names, &spaces, &stories, 50, score));
    add_encoder(&mut results, names[0]);
    let html = stands(&results);
    let document = parsed(&html);
    let shown = rows(&document, "split");
    for story in &stories {
        assert!(shown.iter().any(|row| row["story"].0 == *story), "{story}");
    }
    assert!(!html.contains("987656"), "templates in names are not run");
    let warning = words(all(&document, "header").next().expect("a first screen"));
    assert!(warning.contains("<b>\"quoted\"</b> & 'odd'"));
    let (figure, title) = figures(&sections(&results))
        .next()
        .map(|(f, t)| (f.clone(), t.to_owned()))
        .expect("figures");
    let svg = standalone::file(&figure, &title).expect("it is drawn");
    let png = Painter::default().png(&svg, &figure.rasters).expect("it is painted");
    assert!(png.len() > 1000);
}

#[test]
fn one_of_each_and_none_of_any_score_have_a_page_too() {
    let one = ["only".to_owned()];
    stands(&with_properties(made(&["s"], &one, &one, 1, |_, _, _| 0.25)));
    stands(&with_properties(made(&["s"], &one, &one, 1, |_, _, _| f32::NAN)));
    let two = ["a".to_owned(), "b".to_owned()];
    let dead = stands(&with_properties(made(&["s", "t"], &two, &two, 9, |_, _, _| f32::NAN)));
    assert!(dead.contains("No model has a score"));
    stands(&with_properties(made(&["s", "t"], &two, &two, 9, |_, _, _| 0.5)));
    stands(&made(&["s"], &two, &one, 3, |_, i, _| if i == 0 { f32::NAN } else { -0.1 }));
}

#[test]
fn forty_spaces_and_two_hundred_stories_fit_on_a_page() {
    let spaces: Vec<String> = (0..40).map(|i| format!("space number {i}")).collect();
    let stories: Vec<String> = (0..200).map(|i| format!("story{i}")).collect();
    let score = |s: usize, i: usize, v: usize| {
        ((s * 31 + i * 17 + v * 7919) % 1009) as f32 / 2000.0 - 0.1 + i as f32 / 400.0
    };
    let results = with_properties(made(&["s1", "s2"], &spaces, &stories, 500, score));
    let html = stands(&results);
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
    assert!(html.contains("The 6 best of 40 spaces are shown."));
}

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
    let space = out.join("models/encoder/mlm");
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
