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
    "study_file",
    "results",
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
