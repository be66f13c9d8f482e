//! Imports point the right way; `unsafe` and printing stand where they may.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The floor, each on what is before it; then the stages, each on the stages to its left and the
/// floor; then what stands above. A module uses nothing to its right.
const ORDER: &[&str] = &[
    // The floor.
    "error",
    "warning",
    "reporter",
    "resources",
    "matrix",
    "stats",
    "io",
    "product",
    "backend",
    "nn", // The stages.
    "stimuli",
    "features",
    "design",
    "ridge",
    "scoring",
    "report",
    "simulate",
    // Above.
    "results",
    "study_file",
    "solve",
    "encoder",
    "study",
    "commands",
    "cli",
];

/// Arrows that point back and may: (module, what it uses, why).
const ALLOWED: &[(&str, &str, &str)] = &[
    ("error", "io", "one enum of all failures holds the formats' own"),
    ("error", "stimuli", "one enum of all failures holds the stories' own"),
    ("warning", "features", "a warning is made from a coverage"),
    ("warning", "ridge", "a warning is made from counts at the alpha grid's ends"),
];

/// Where `unsafe` may stand.
const UNSAFE_ALLOWED: &[&str] = &["product/amx.rs", "backend/gpu/launch", "cli/heap.rs"];

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                let relative = path.strip_prefix(&root).expect("below src").to_owned();
                found.push((relative, code(&text)));
            }
        }
    }
    assert!(found.len() > 40, "found only {} files under {}", found.len(), root.display());
    found.sort();
    found
}

/// The program's own code: without comments, and without the tests at its foot.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// `x_tests.rs`, what is in a folder `tests`, and modules declared under `#[cfg(test)]`.
fn is_test_file(path: &Path) -> bool {
    if path.parent().is_some_and(|folder| folder.ends_with("tests")) {
        return true;
    }
    let stem = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let parent = root.join(path).with_file_name("mod.rs");
    let parent = std::fs::read_to_string(parent).unwrap_or_default();
    let mut before = "";
    let is_declared = parent.lines().any(|line| {
        let declares = line.ends_with(&format!("mod {stem};"));
        std::mem::replace(&mut before, line) == "#[cfg(test)]" && declares
    });
    stem.ends_with("tests") || is_declared
}

/// `ridge/gram.rs` and `ridge.rs` both belong to `ridge`.
fn module_of(path: &Path) -> String {
    let first = path.components().next().expect("a file has a name").as_os_str();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Top-level modules of this crate that the text names: `crate::X`, also in braces.
fn used_modules(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut used = BTreeSet::new();
    for (at, found) in text.match_indices("crate::") {
        if text[..at].ends_with(is_name) {
            continue;
        }
        let rest = &text[at + found.len()..];
        if !rest.starts_with('{') {
            used.insert(rest.chars().take_while(|&c| is_name(c)).collect());
            continue;
        }
        let (mut depth, mut name) = (0, String::new());
        let mut takes_name = false;
        for c in rest.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 1 && matches!(c, '{' | ',') {
                takes_name = true;
            } else if takes_name && is_name(c) {
                name.push(c);
                continue;
            } else if !name.is_empty() {
                takes_name = false;
            }
            if !name.is_empty() {
                used.insert(std::mem::take(&mut name));
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

#[test]
fn names_after_crate_are_found_in_every_spelling() {
    let text = "use crate::io::npy;\nuse crate::{error::{Error, Result}, stats,\n  ridge::Solver};\n\
                fn f() -> crate::matrix::Rows {}\npub(crate) fn g() { mycrate::x() }";
    let expected = ["error", "io", "matrix", "ridge", "stats"].map(str::to_owned);
    assert_eq!(used_modules(text), BTreeSet::from(expected));
}

#[test]
fn no_import_points_back() {
    let rank = |module: &str| ORDER.iter().position(|name| *name == module);
    let mut faults = Vec::new();
    let mut taken: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if matches!(module.as_str(), "lib" | "main") || is_test_file(&path) {
            continue;
        }
        let Some(own) = rank(&module) else {
            faults.push(format!("{}: module {module} has no place in ORDER", path.display()));
            continue;
        };
        for used in used_modules(&text) {
            // Items re-exported at the root (`crate::Error`) are capitalised.
            if used.chars().next().is_none_or(char::is_uppercase) || used == module {
                continue;
            }
            let allowed = ALLOWED.iter().find(|(from, to, _)| *from == module && *to == used);
            if let Some((from, to, _)) = allowed {
                taken.insert((from, to));
            } else if rank(&used).is_none_or(|other| other > own) {
                faults.push(format!("{}: {module} uses {used}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "arrows that point back:\n{}", faults.join("\n"));
    for (from, to, why) in ALLOWED {
        assert!(taken.contains(&(*from, *to)), "{from} → {to} ({why}) is not used any more");
    }
}

/// Files of `study/`, each on what is before it: from a study's inputs to its results.
const STUDY_ORDER: &[&str] = &[
    "words",
    "bold::pattern",
    "bold::files",
    "bold::checks",
    "story_bold",
    "units",
    "inputs",
    "split",
    "unit_words",
    "bold",
    "language",
    "named_files",
    "word_space",
    "kinds",
    "features",
    "models",
    "memory",
    "plan",
    "problem",
    "position",
    "stability",
    "footprint",
    "fingerprint",
    "context",
    "saving",
    "alignment",
    "journal",
    "writer",
    "shards::layout",
    "shards::plan",
    "shards::finished",
    "fit",
    "tables",
    "run",
    "shards::run",
];

/// `study/shards/plan.rs` as `["study", "shards", "plan"]`, `study/mod.rs` as `["study"]`.
fn path_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// Paths that a file's `use` statements name, from the crate's root, one per item.
fn imports(own: &[String], text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for part in text.split(";") {
        // Not the word in a text.
        let begins =
            |at: &usize| ["crate::", "super::"].iter().any(|s| part[at + 4..].starts_with(s));
        let Some(at) = part.match_indices("use ").map(|(at, _)| at).find(begins) else { continue };
        let tree: String = part[at + 4..].split_whitespace().collect();
        expand(&tree, &mut Vec::new(), &mut found);
    }
    let absolute = |path: Vec<String>| -> Option<Vec<String>> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "super" => Some([&own[..own.len().checked_sub(ups)?], &path[ups..]].concat()),
            _ => None,
        }
    };
    found.into_iter().filter_map(absolute).collect()
}

/// The leaves of `a::{b, c::d}`.
fn expand(tree: &str, before: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let (head, rest) = match tree.find('{') {
        Some(at) => (&tree[..at], Some(&tree[at + 1..tree.rfind('}').unwrap_or(tree.len())])),
        None => (tree, None),
    };
    let n_before = before.len();
    before.extend(head.split("::").filter(|part| !part.is_empty()).map(str::to_owned));
    match rest {
        None => found.push(before.clone()),
        Some(rest) => {
            let (mut depth, mut start) = (0, 0);
            for (at, c) in rest.char_indices().chain([(rest.len(), ',')]) {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        if start < at {
                            expand(&rest[start..at], before, found);
                        }
                        start = at + 1;
                    }
                    _ => {}
                }
            }
        }
    }
    before.truncate(n_before);
}

#[test]
fn use_trees_are_expanded() {
    let own = ["study", "shards", "plan"].map(str::to_owned);
    let text = "use crate::a::{b::C, d};\nuse super::layout::cut;\nuse super::super::fit;";
    let expected = [
        vec!["a", "b", "C"],
        vec!["a", "d"],
        vec!["study", "shards", "layout", "cut"],
        vec!["study", "fit"],
    ];
    assert_eq!(imports(&own, text), expected);
}

#[test]
fn files_of_a_study_import_only_what_comes_before_them() {
    let rank = |path: &[String]| {
        let path = path[1..].join("::");
        let fits = |name: &&str| path == **name || path.starts_with(&format!("{name}::"));
        STUDY_ORDER.iter().position(fits)
    };
    let mut faults = Vec::new();
    for (file, text) in sources() {
        let own = path_of(&file);
        if own[0] != "study" || is_test_file(&file) || file.ends_with("mod.rs") {
            continue;
        }
        let Some(at) = rank(&own) else {
            faults.push(format!("{} has no place in STUDY_ORDER", file.display()));
            continue;
        };
        for import in imports(&own, &text).iter().filter(|path| path[0] == "study") {
            if rank(import).is_some_and(|used| used > at) {
                faults.push(format!("{}: uses {}", file.display(), import.join("::")));
            }
        }
    }
    assert!(faults.is_empty(), "study/ runs back up:\n{}", faults.join("\n"));
}

/// Files that reach themselves through imports, in every folder.
#[test]
fn no_files_import_each_other_in_a_circle() {
    let files: Vec<(Vec<String>, String)> = sources()
        .into_iter()
        .filter(|(file, _)| !is_test_file(file) && !file.ends_with("mod.rs"))
        .map(|(file, text)| (path_of(&file), text))
        .collect();
    let target = |import: &[String]| {
        (1..=import.len()).rev().find_map(|n| files.iter().position(|(f, _)| *f == import[..n]))
    };
    let arrows: Vec<BTreeSet<usize>> = files
        .iter()
        .enumerate()
        .map(|(i, (own, text))| {
            // One enum of all failures holds the formats' own.
            let paths = imports(own, text).into_iter().filter(|_| own[0] != "error");
            paths.filter_map(|to| target(&to)).filter(|&to| to != i).collect()
        })
        .collect();
    let mut circles = Vec::new();
    for (start, (name, _)) in files.iter().enumerate() {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(at) = open.pop() {
            open.extend(arrows[at].iter().filter(|to| seen.insert(**to)));
        }
        if seen.contains(&start) {
            circles.push(name.join("::"));
        }
    }
    assert!(circles.is_empty(), "files in a circle of imports:\n{}", circles.join("\n"));
}

/// Where the name of a result file means another file: module, name (all of them if empty), why.
const NAMED_ELSEWHERE: &[(&str, &str, &str)] = &[
    ("solve", "", "`voxelcast ridge` writes a folder of its own"),
    ("report", "", "tables and the page's template have names too"),
    ("io", ".partial", "every temporary file ends in it"),
    ("cli", "STUDY.toml", "--help calls an argument so"),
];

#[test]
fn results_alone_names_the_files_of_a_results_folder() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if module == "results" || is_test_file(&path) {
            continue;
        }
        for name in voxelcast::results::names::FILES {
            let is_allowed = |(from, file, _): &(&str, &str, &str)| {
                *from == module && (file.is_empty() || file == name)
            };
            let is_named = text.contains(&format!("join(\"{name}\")"))
                || (name.contains('.') && text.contains(&format!("\"{name}\"")));
            if is_named && !NAMED_ELSEWHERE.iter().any(is_allowed) {
                faults.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "use results::names:\n{}", faults.join("\n"));
}

#[test]
fn unsafe_stands_only_where_it_may() {
    for (path, text) in sources() {
        if UNSAFE_ALLOWED.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        for word in ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn the_documents_name_every_place_of_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["ARCHITECTURE.md", "SECURITY.md"] {
        let text = std::fs::read_to_string(root.join(name)).expect("it is there");
        let line = text.lines().find(|line| line.to_lowercase().contains("unsafe code"));
        let line = line.expect("a line about unsafe code");
        for place in UNSAFE_ALLOWED {
            assert!(line.contains(place), "{name}: {place} in {line:?}");
        }
    }
}

#[test]
fn only_the_command_line_prints() {
    for (path, text) in sources() {
        if module_of(&path) == "cli" || is_test_file(&path) {
            continue;
        }
        for word in ["print!(", "println!(", "dbg!(", "stderr()", "stdout()"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
