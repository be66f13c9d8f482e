//! Pages of results that no study made: hostile names, none and one of everything, very many.

use roxmltree::Document;
use voxelcast::report::answer::answer;
use voxelcast::report::data::{
    BeyondScores, Brain, Cells, Comparison, CvPoint, Extremes, Learning, ModelInfo, Overlap, Place,
    Results, RunInfo, Significance, SpaceInfo, SplitNames, SplitScores, StoryProperties,
    SweepEpoch, TrainStep, VoxelScores,
};
use voxelcast::report::figures::paint::Painter;
use voxelcast::report::figures::standalone;
use voxelcast::report::page::page;
use voxelcast::report::sections::{figures, sections};
use voxelcast::report::{InnerScores, ScoreRow};
use voxelcast::scoring::Summary;

use super::report::{all, is_drawn_well, needs_nothing, parsed, rows, words};

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
            let delays = vec![1];
            let model = ModelInfo { folder, delays, n_coefs: 4, ..ModelInfo::default() };
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
        inner: None,
    };
    let mean = scores.mean;
    results.summary.push(row(None));
    results.beyond.extend(lagged.then(|| BeyondScores {
        subject: subject.clone(),
        space: space.clone(),
        lagged,
        base: space.clone(),
        mean_signed_r2: mean,
        mean_beyond_signed_r2: -mean,
        inner_mean_signed_r2: Some(f64::NAN),
        inner_mean_beyond_signed_r2: Some(mean),
        ..BeyondScores::default()
    }));
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
        ..Significance::default()
    });
    let other = results.summary[0].space.clone() + "-lagged";
    results.comparisons.push(Comparison {
        subject: subject.clone(),
        space_a: other.clone(),
        space_b: folder.clone(),
        diff_mean: mean,
        ci_low: f64::NAN,
        ci_high: mean,
        ..Comparison::default()
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
            story: Some(story.clone()),
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
        ..Learning::default()
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
fn another_order_inside_the_stories_is_said_in_the_first_sentence() {
    let spaces = ["position".to_owned(), "glove".to_owned()];
    let stories = ["a".to_owned(), "b".to_owned()];
    let headline = |inner: Option<[f64; 2]>| {
        // position leads over all TRs of both subjects.
        let mut results = made(&["s1", "s2"], &spaces, &stories, 20, |_, i, _| [0.25, 0.125][i]);
        for row in &mut results.summary {
            let at = usize::from(row.space == "glove");
            row.inner = inner.map(|inner| InnerScores {
                // The other subject's order is the same inside.
                inner_mean: if row.subject == "s1" { inner[at] } else { 0.1 - 0.05 * at as f64 },
                inner_median: 0.0,
            });
        }
        answer(&results).headline.into_iter().map(|piece| piece.text).collect::<String>()
    };
    let first = headline(Some([0.0625, 0.1]));
    assert!(first.starts_with("position (lagged) predicts best in both subjects"), "{first}");
    let sentence = "Without the TRs near the edges of the test stories glove (lagged) \
                    predicts best: 0.100 against 0.062 in s1.";
    assert!(first.ends_with(sentence), "{first}");
    for same in [Some([0.2, 0.1]), Some([0.1, 0.1002]), None] {
        assert!(!headline(same).contains("edges"), "{same:?}");
    }
}
