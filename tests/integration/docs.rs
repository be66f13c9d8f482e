//! README and docs/: commands, flags, keys and files that are named there exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::workbench::voxelcast;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and every page of docs/.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join("README.md")];
    for entry in std::fs::read_dir(root().join("docs")).expect("there are docs") {
        let path = entry.expect("readable").path();
        paths.extend(path.extension().is_some_and(|e| e == "md").then_some(path));
    }
    let read = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).expect("UTF-8"));
    let pages: Vec<_> = paths.into_iter().map(read).collect();
    assert!(pages.len() >= 9, "{}", pages.len());
    pages
}

/// Fenced blocks of a page: their language and text.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(language), None) => open = Some((language.trim(), String::new())),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// Command lines `voxelcast …` of a page's blocks and of its code within the lines.
fn command_lines(page: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (language, text) in blocks(page) {
        if !["sh", "text", "bash", ""].contains(&language) {
            continue;
        }
        for line in text.replace("\\\n", " ").lines() {
            // `$ ` where output follows; what follows ` #` is said about it.
            let line =
                line.trim().trim_start_matches("$ ").trim_start_matches("cargo run --release -- ");
            let line = line.split(" #").next().unwrap_or_default();
            lines.extend(line.split(['|', ';', '&']).map(|part| part.trim().to_owned()));
        }
    }
    lines.extend(page.split('`').skip(1).step_by(2).map(str::to_owned));
    lines.retain(|line| line.starts_with("voxelcast "));
    lines
}

/// Help of a command, asked for once.
fn help<'a>(known: &'a mut BTreeMap<String, Option<String>>, command: &str) -> Option<&'a str> {
    let ask = || {
        let mut args: Vec<&str> = command.split(' ').collect();
        args.push("--help");
        let outcome = voxelcast(&args);
        (outcome.code == 0).then_some(outcome.stdout)
    };
    known.entry(command.to_owned()).or_insert_with(ask).as_deref()
}

/// What is wrong with one command line, if anything is.
fn fault(known: &mut BTreeMap<String, Option<String>>, line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let command = words.first().filter(|word| !word.starts_with('-'))?;
    if command.contains(|c: char| !c.is_ascii_lowercase()) {
        return None; // COMMAND, `…`: any of them
    }
    let mut name = (*command).to_owned();
    if *command == "encoder" {
        // train|sweep|embed
        name = format!("encoder {}", words.get(1)?.split('|').next()?);
    }
    let Some(help) = help(known, &name) else {
        return Some(format!("no command {name:?}"));
    };
    let flag = |word: &&str| {
        let word = word.trim_start_matches(['[', '(']);
        word.strip_prefix("--").map(|flag| {
            let end = flag.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            format!("--{}", &flag[..end.unwrap_or(flag.len())])
        })
    };
    let flags: BTreeSet<String> = words.iter().filter_map(flag).collect();
    let has = |flag: &String| {
        help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == flag)
    };
    flags.iter().find(|flag| !has(flag)).map(|flag| format!("{name} has no flag {flag}"))
}

#[test]
fn every_command_and_flag_in_the_docs_exists() {
    let mut known = BTreeMap::new();
    let (mut faults, mut n_lines) = (Vec::new(), 0);
    for (path, page) in pages() {
        for line in command_lines(&page) {
            n_lines += 1;
            let wrong = fault(&mut known, &line);
            faults.extend(wrong.map(|wrong| format!("{}: {line}\n  {wrong}", path.display())));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(n_lines > 60, "{n_lines} lines: the pages are not understood any more");
    // The test sees what it is there for.
    assert!(fault(&mut known, "voxelcast rnu STUDY.toml").is_some());
    assert!(fault(&mut known, "voxelcast run STUDY.toml --permutatons 3").is_some());
    assert_eq!(fault(&mut known, "voxelcast run STUDY.toml --dry-run"), None);
}

/// Names of a page's keys that STUDY.toml does not have: `[section] key`.
fn unknown_keys(page: &str, keys: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut look = |section: &str, key: &str| {
        let section = section.split('.').next().unwrap_or_default().trim_matches(['[', ']']);
        if !keys.contains(&(section.to_owned(), key.to_owned())) {
            unknown.push(format!("[{section}] {key}"));
        }
    };
    for (_, text) in blocks(page).iter().filter(|(language, _)| *language == "toml") {
        let mut section = String::new();
        for line in text.lines() {
            let line = line.trim().trim_start_matches("# ");
            if line.starts_with('[') {
                section = line.split(']').next().unwrap_or_default().to_owned();
                // [stories]   path = …, on one line.
                let rest = line.trim_start_matches(|c| c != ']').trim_start_matches(']').trim();
                if let Some((key, _)) = rest.split_once(" = ").filter(|_| !rest.starts_with('#')) {
                    look(&section, key);
                }
            } else if let Some((key, _)) = line.split_once(" = ")
                && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            {
                look(&section, key);
            }
        }
    }
    // `[design] trim`, `[bold.SUBJECT] mask = "…"` within a line.
    for code in page.split('`').skip(1).step_by(2).filter(|code| code.starts_with('[')) {
        let Some((section, rest)) = code.split_once("] ") else { continue };
        let key: String =
            rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        if !section.contains(',') && !key.is_empty() {
            look(section, &key);
        }
    }
    unknown
}

#[test]
fn every_key_in_the_docs_exists() {
    let keys: BTreeSet<(String, String)> = [
        "stories",
        "bold",
        "split",
        "design",
        "space",
        "encoder",
        "ridge",
        "statistics",
        "stability",
        "bands",
        "partition",
        "output",
    ]
    .into_iter()
    .flat_map(|section| {
        let names = voxelcast::study_file::keys::of_section(section).map(|key| key.name);
        names.map(move |name| (section.to_owned(), name.to_owned())).collect::<Vec<_>>()
    })
    .collect();
    assert!(keys.len() > 50, "{}", keys.len());
    for (path, page) in pages() {
        let unknown = unknown_keys(&page, &keys);
        assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
    }
    assert_eq!(unknown_keys("```toml\n[design]\ntrmi = 1\n```\n", &keys), ["[design] trmi"]);
    assert_eq!(unknown_keys("see `[ridge] fold`", &keys), ["[ridge] fold"]);
}

#[test]
fn every_link_in_the_docs_leads_to_a_file() {
    for (path, page) in pages() {
        let folder = path.parent().expect("a page lies in a folder");
        let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { folder.join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if anchor.is_empty() || target.extension().is_none_or(|e| e != "md") {
                continue;
            }
            let text = std::fs::read_to_string(&target).expect("UTF-8");
            let slug = |line: &str| -> String {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                kept.map(|c| if c == ' ' { '-' } else { c }).collect()
            };
            let has =
                text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
            assert!(has, "{}: no heading {anchor} in {}", path.display(), target.display());
        }
    }
}
