//! Features made elsewhere: `kind = "file"` with rows of words, TRs and times.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis, s};
use serde_json::Value;
use voxelcast::io::npy;

use super::kinds::{N_VOXELS, arrays, features, ran, refused, spaces};
use super::naive::column_correlations;
use super::workbench::{
    HEAD, StudyBench, TAIL, normal, read_vector, seeded, text, voxelcast, wide, write_f32,
};

/// Raw TRs of every story, as respdict.json has them.
fn respdict(bench: &StudyBench) -> PathBuf {
    let counts = bench.stories.iter().map(|story| {
        let raw = story.n_rows + HEAD + TAIL + 5;
        (story.name.clone(), Value::from(raw))
    });
    let path = bench.file("respdict.json");
    let text = Value::Object(counts.collect()).to_string();
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn rows_of_features_read_back_give_the_same_bytes_as_their_kind() {
    let bench = StudyBench::new(4101, 40, N_VOXELS);
    let (vectors, counts) = (bench.file("vectors.txt"), respdict(&bench));
    let glove = ["--kind", "glove", "--vectors", text(&vectors), "--n-trs", text(&counts), "--f64"];
    let made = features(&bench, &glove);
    let (words, trs) = (made.join("{story}.words.npy"), made.join("{story}.trs.npy"));
    let spaces = spaces(&format!(
        "[[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
         [[space]]\nname = \"words\"\nkind = \"file\"\npath = {:?}\n\
         [[space]]\nname = \"trs\"\nkind = \"file\"\npath = {:?}\nrows = \"trs\"\n\
         [[space]]\nkind = \"word_rate\"\n\
         [[space]]\nname = \"both\"\ncombine = [\"glove\", \"word_rate\"]\nbanded = true\n\
         [[space]]\nname = \"both_trs\"\ncombine = [\"trs\", \"word_rate\"]\nbanded = true\n",
        text(&words),
        text(&trs)
    ));
    for zscore in ["design.zscore = \"story\"", "design.zscore = \"train\""] {
        let lines =
            [&spaces, zscore, "bands.n_iter = 3", "partition.spaces = [\"words\", \"trs\"]"];
        let out = ran(&bench, &lines);
        for model in ["", "-lagged"] {
            let of = |space: &str| arrays(&out, "s2", &format!("{space}{model}"));
            assert!(of("glove") == of("words"), "{zscore}{model}");
            assert!(of("glove") == of("trs"), "{zscore}{model}");
            assert!(of("both") == of("both_trs"), "{zscore}{model}");
        }
    }
    // The default is f32, as the rows of words are.
    let f32s = features(&bench, &glove[..6]);
    for (folder, name, dtype) in
        [(&made, "words", "f4"), (&made, "trs", "f8"), (&f32s, "trs", "f4")]
    {
        let file = npy::NpyFile::open(&folder.join(format!("story0.{name}.npy"))).expect("whole");
        assert!(file.dtype().to_string().ends_with(dtype), "{name}");
    }
}

#[test]
fn rows_of_trs_may_be_trimmed_already_and_lie_in_one_file() {
    let bench = StudyBench::new(4102, 30, N_VOXELS);
    let rng = &mut seeded(1);
    let mut arrays_of_stories = Vec::new();
    for folder in ["all", "kept"] {
        std::fs::create_dir(bench.file(folder)).expect("made");
    }
    for story in &bench.stories {
        let rows = normal(rng, story.n_rows + HEAD + TAIL, 3);
        let kept = rows.slice(s![HEAD..HEAD + story.n_rows, ..]).to_owned();
        write_f32(&bench.file(&format!("all/{}.npy", story.name)), &rows);
        write_f32(&bench.file(&format!("kept/{}.npy", story.name)), &kept);
        arrays_of_stories.push((story.name.clone(), rows));
    }
    write_safetensors(&bench.file("all.safetensors"), &arrays_of_stories);
    let space = |name: &str, keys: &str| {
        format!("[[space]]\nname = \"{name}\"\nkind = \"file\"\nrows = \"trs\"\n{keys}\n")
    };
    let spaces = spaces(
        &[
            space("all", "path = \"all/{story}.npy\""),
            space("kept", "path = \"kept/{story}.npy\""),
            space("one", "path = \"all.safetensors\"\ndataset = \"{story}\""),
        ]
        .concat(),
    );
    let out = ran(&bench, &[&spaces, "stability.splits = 2"]);
    for model in ["", "-lagged"] {
        let of = |space: &str| arrays(&out, "s1", &format!("{space}{model}"));
        assert!(of("all") == of("kept") && of("all") == of("one"), "{model}");
    }
    // Nothing was resampled: the model is the ridge of the z-scored rows. r of its predictions, by
    // hand from the weights, is the run's.
    let bytes = std::fs::read(out.join("models/s1/all/weights.safetensors")).expect("there");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
    let number = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes")));
    let weights = tensors.tensor("weights").expect("there").data().chunks_exact(4).map(number);
    let weights = Array2::from_shape_vec((3, N_VOXELS), weights.collect()).expect("its shape");
    let kept = wide(&npy::read_matrix_f32(&bench.file("kept/story5.npy")).expect("written"));
    let z = (&kept - &kept.mean_axis(Axis(0)).expect("rows")) / kept.std_axis(Axis(0), 0.0);
    let bold = wide(&npy::read_matrix_f32(&bench.file("s1/story5.npy")).expect("written"));
    let by_hand = column_correlations(&z.dot(&weights), &bold);
    let runs = read_vector(&out.join("models/s1/all/test_correlation.npy"), N_VOXELS);
    for (ours, runs) in by_hand.iter().zip(runs) {
        assert!((ours - runs).abs() < 1e-5, "{ours} {runs}");
    }
}

/// f32 tensors by name.
fn write_safetensors(path: &Path, arrays: &[(String, Array2<f32>)]) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = arrays
        .iter()
        .map(|(name, x)| {
            let bytes = x.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name.clone(), x.shape().to_vec(), bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.expect("a whole tensor"))
    });
    let written = safetensors::serialize(views, None).expect("serialised");
    std::fs::write(path, written).expect("written");
}

/// Rows at the words' own middles, as rows of times, are rows of words.
#[test]
fn rows_with_times_of_their_own_are_resampled_from_these() {
    let bench = StudyBench::new(4103, 30, N_VOXELS);
    let vectors = bench.file("vectors.txt");
    let made = features(&bench, &["--kind", "glove", "--vectors", text(&vectors)]);
    for story in &bench.stories {
        let mids: Vec<f64> =
            story.onset_s.iter().zip(&story.offset_s).map(|(a, b)| 0.5 * a + 0.5 * b).collect();
        npy::write(&made.join(format!("{}.s.npy", story.name)), &[mids.len()], &mids)
            .expect("written");
    }
    let spaces = spaces(&format!(
        "[[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
         [[space]]\nname = \"moments\"\nkind = \"file\"\nrows = \"times\"\npath = {:?}\ntimes = {:?}\n",
        text(&made.join("{story}.words.npy")),
        text(&made.join("{story}.s.npy"))
    ));
    let out = ran(&bench, &[&spaces]);
    for model in ["", "-lagged"] {
        let of = |space: &str| arrays(&out, "s1", &format!("{space}{model}"));
        assert!(of("glove") == of("moments"), "{model}");
    }
    npy::write(&made.join("story2.s.npy"), &[3], &[0.0f64, 1.0, 2.0]).expect("written");
    let n_words = bench.stories[2].words.len().to_string();
    refused(&bench, &spaces, &["\"story2\"", "3 (the times in", &n_words]);
}

#[test]
fn rows_of_words_count_marks_or_do_not_and_any_other_count_is_told() {
    let bench = StudyBench::new(4104, 30, N_VOXELS);
    // A mark behind every tenth word: at its end, so that it is no word's time.
    let mut lines = String::from("story\tonset\toffset\tword\n");
    let mut n_entries = Vec::new();
    for story in &bench.stories {
        let mut n = 0;
        for (i, word) in story.words.iter().enumerate() {
            let (name, onset, offset) = (&story.name, story.onset_s[i], story.offset_s[i]);
            writeln!(lines, "{name}\t{onset}\t{offset}\t{word}").expect("text");
            n += 1;
            if i % 10 == 0 {
                writeln!(lines, "{name}\t{offset}\t{offset}\t<noise>").expect("text");
                n += 1;
            }
        }
        n_entries.push(n);
    }
    std::fs::write(bench.file("words.tsv"), lines).expect("written");
    let rng = &mut seeded(2);
    for folder in ["with", "without"] {
        std::fs::create_dir(bench.file(folder)).expect("made");
    }
    for (story, &n_entries) in bench.stories.iter().zip(&n_entries) {
        let rows = normal(rng, n_entries, 2);
        // Behind words 0, 10, 20 … stands a mark: rows 1, 12, 23, ….
        let is_word = |row: &usize| row % 11 != 1;
        let own: Vec<usize> = (0..n_entries).filter(is_word).collect();
        assert_eq!(own.len(), story.words.len());
        write_f32(&bench.file(&format!("with/{}.npy", story.name)), &rows);
        let words = rows.select(Axis(0), &own);
        write_f32(&bench.file(&format!("without/{}.npy", story.name)), &words);
    }
    let spaces = spaces(
        "[[space]]\nname = \"with\"\nkind = \"file\"\npath = \"with/{story}.npy\"\n\
         [[space]]\nname = \"without\"\nkind = \"file\"\npath = \"without/{story}.npy\"\n",
    );
    let out = ran(&bench, &[&spaces]);
    assert!(arrays(&out, "s1", "with-lagged") == arrays(&out, "s1", "without-lagged"));

    write_f32(&bench.file("with/story3.npy"), &normal(rng, 5, 2));
    let (n_words, n) = (bench.stories[3].words.len(), n_entries[3]);
    let numbers = [format!("{n_words} (words)"), format!("{n} (with the marks"), "got 5".into()];
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    refused(&bench, &spaces, &[&["\"story3\"", "with/story3.npy"][..], &numbers].concat());
    let as_trs = spaces.replace("with/{story}.npy\"\n", "with/{story}.npy\"\nrows = \"trs\"\n");
    let (kept, all) = (bench.stories[0].n_rows, bench.stories[0].n_rows + HEAD + TAIL);
    let numbers = [
        format!("{kept} (the BOLD's rows)"),
        format!("{all} (TRs before the trim)"),
        format!("got {}", n_entries[0]),
    ];
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    refused(&bench, &as_trs, &[&["\"story0\""][..], &numbers].concat());

    write_f32(&bench.file("with/story3.npy"), &normal(rng, n, 7));
    refused(&bench, &spaces, &["\"story3\"", "columns of", "2 as in", "got 7"]);
    std::fs::remove_file(bench.file("with/story3.npy")).expect("removed");
    refused(&bench, &spaces, &["\"story3\"", "with/story3.npy", "found nothing"]);
    let mut rows = normal(rng, n, 2);
    rows[[4, 1]] = f32::NAN;
    write_f32(&bench.file("with/story3.npy"), &rows);
    let (outcome, _) = bench.run(&[&spaces], &[]);
    outcome.refused(3, &["\"story3\"", "row 4, column 1", "NaN"]);
}

#[test]
fn predict_finds_the_rows_of_new_stories_under_the_same_pattern() {
    let bench = StudyBench::new(4110, 30, N_VOXELS);
    let vectors = bench.file("vectors.txt");
    let made = features(&bench, &["--kind", "glove", "--vectors", text(&vectors)]);
    let pattern = made.join("{story}.words.npy");
    let spaces = spaces(&format!(
        "[[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
         [[space]]\nname = \"rows\"\nkind = \"file\"\npath = {:?}\n\
         [[space]]\nkind = \"word_length\"\n\
         [[space]]\nname = \"all\"\ncombine = [\"rows\", \"word_length\"]\n",
        text(&pattern)
    ));
    let out = ran(&bench, &[&spaces]);
    // A story that the study has not: the words and rows of story4 under another name.
    let words = std::fs::read_to_string(bench.file("words.tsv")).expect("there");
    let new: Vec<String> = words
        .lines()
        .filter(|line| line.starts_with("story\t") || line.starts_with("story4\t"))
        .map(|line| line.replace("story4", "new"))
        .collect();
    std::fs::write(bench.file("new.tsv"), new.join("\n") + "\n").expect("written");
    let (stories, n_trs) = (bench.file("new.tsv"), bench.stories[4].n_rows + HEAD + TAIL);
    let n_trs = n_trs.to_string();
    let folder = bench.out();
    let args = |out: &Path| {
        ["predict", "--model", text(out), "--stories", text(&stories), "--n-trs", &n_trs, "--out"]
            .map(str::to_owned)
    };
    let call = |more: &[&str]| {
        let args = args(&out);
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.push(text(&folder));
        args.extend(more);
        voxelcast(&args)
    };
    call(&[]).refused(3, &["\"new\"", "new.words.npy", "found nothing"]);
    std::fs::copy(made.join("story4.words.npy"), made.join("new.words.npy")).expect("copied");
    let outcome = call(&[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for model in ["", "-lagged"] {
        let of = |space: &str| {
            std::fs::read(folder.join(format!("s1/{space}{model}/new.npy"))).expect("there")
        };
        assert!(of("rows") == of("glove"), "{model}");
    }
    assert!(folder.join("s2/all-lagged/new.npy").exists());
    // Under another pattern.
    let elsewhere = bench.file("elsewhere");
    std::fs::create_dir(&elsewhere).expect("made");
    std::fs::rename(made.join("new.words.npy"), elsewhere.join("new.npy")).expect("moved");
    let given = format!("rows={}", text(&elsewhere.join("{story}.npy")));
    assert_eq!(call(&["--vectors", &given]).code, 0);
}

#[test]
fn changed_rows_are_another_study_and_flags_of_other_kinds_are_refused() {
    let bench = StudyBench::new(4111, 25, N_VOXELS);
    let rng = &mut seeded(3);
    std::fs::create_dir(bench.file("f")).expect("made");
    for story in &bench.stories {
        write_f32(&bench.file(&format!("f/{}.npy", story.name)), &normal(rng, story.n_rows, 2));
    }
    std::fs::write(bench.file("names.txt"), "loud\nbright\n").expect("written");
    let spaces = spaces(
        "[[space]]\nkind = \"file\"\npath = \"f/{story}.npy\"\nrows = \"trs\"\nnames = \"names.txt\"\n",
    );
    let out = bench.out();
    assert_eq!(bench.run_into(&out, &[&spaces], &[]).code, 0);
    let model = std::fs::read_to_string(out.join("models/s1/file/model.json")).expect("there");
    assert!(model.contains("\"bright\"") && model.contains("{story}.npy"), "{model}");
    write_f32(&bench.file("f/story1.npy"), &normal(rng, bench.stories[1].n_rows, 2));
    bench.run_into(&out, &[&spaces], &[]).refused(3, &["f/story1.npy", "--force"]);
    std::fs::write(bench.file("names.txt"), "loud\n").expect("written");
    refused(&bench, &spaces, &["names.txt", "2, one per column", "got 1"]);

    let (words, out) = (bench.file("words.tsv"), bench.out());
    for (flags, says) in [
        (&["--kind", "word_rate", "--columns", "a"][..], "--columns: it is for --kind column"),
        (&["--kind", "word_rate", "--what", "rate"], "--what: it is for --kind phones"),
        (&["--kind", "file"], "--kind, path"),
        (&["--kind", "column"], "--kind, columns"),
        (&["--kind", "position", "--vectors", "v"], "--kind, vectors"),
    ] {
        let mut args = vec!["features", "--stories", text(&words), "--out", text(&out)];
        args.extend(flags);
        voxelcast(&args).refused(2, &[says]);
    }
    // Kinds without a row per word write rows of TRs alone.
    let made = features(&bench, &["--kind", "position"]);
    assert!(made.join("story0.trs.npy").exists() && !made.join("story0.words.npy").exists());
}
