//! Paths and dataset names with `{story}`, `{session}` and `{hemi}` in them.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// What the placeholders of a path stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bindings {
    /// `{story}`.
    pub story: Option<String>,
    /// `{session}`: any text, the same wherever it stands.
    pub session: Option<String>,
    /// `{hemi}`.
    pub hemi: Option<String>,
}

impl Bindings {
    /// A story and a hemisphere, the session is free.
    pub fn of(story: &str, hemi: Option<&str>) -> Bindings {
        Bindings { story: Some(story.to_owned()), session: None, hemi: hemi.map(str::to_owned) }
    }

    fn slot(&mut self, name: &str) -> &mut Option<String> {
        match name {
            "{story}" => &mut self.story,
            "{session}" => &mut self.session,
            _ => &mut self.hemi,
        }
    }

    /// A pattern with everything filled in that is known.
    pub fn fill(&self, pattern: &str) -> String {
        let pairs = NAMES.into_iter().zip([&self.story, &self.session, &self.hemi]);
        pairs.fold(pattern.to_owned(), |text, (name, value)| match value {
            Some(value) => text.replace(name, value),
            None => text,
        })
    }
}

const NAMES: [&str; 3] = ["{story}", "{session}", "{hemi}"];

/// Whether a text has any placeholder.
pub fn has_placeholder(pattern: &str) -> bool {
    NAMES.iter().any(|name| pattern.contains(name))
}

/// The first placeholder: what is before it, its name, what is after it.
fn split(pattern: &str) -> Option<(&str, &'static str, &str)> {
    let first = NAMES.into_iter().filter_map(|name| Some((pattern.find(name)?, name)));
    let (at, name) = first.min_by_key(|(at, _)| *at)?;
    Some((&pattern[..at], name, &pattern[at + name.len()..]))
}

/// What the placeholders of `pattern` stand for in `text`; free ones take as little as they can.
pub fn matched(pattern: &str, text: &str, bound: &Bindings) -> Option<Bindings> {
    let Some((before, name, after)) = split(pattern) else {
        return (pattern == text).then(|| bound.clone());
    };
    let rest = text.strip_prefix(before)?;
    let mut bound = bound.clone();
    if let Some(value) = bound.slot(name).clone() {
        return matched(after, rest.strip_prefix(value.as_str())?, &bound);
    }
    let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8());
    for end in ends {
        *bound.slot(name) = Some(rest[..end].to_owned());
        if let Some(found) = matched(after, &rest[end..], &bound) {
            return Some(found);
        }
    }
    None
}

/// The same for names with `/` in them: a placeholder stays within its step.
pub fn matched_steps(pattern: &str, text: &str, bound: &Bindings) -> Option<Bindings> {
    let (mut steps, mut found) = (text.split('/'), bound.clone());
    for step in pattern.split('/') {
        found = matched(step, steps.next()?, &found)?;
    }
    steps.next().is_none().then_some(found)
}

/// Everything on disk that a path with placeholders names, in the order of the names. Names that
/// begin with a dot are no files of anybody's (`._play.npy` is macOS's).
pub fn found_paths(pattern: &Path, bound: &Bindings) -> Vec<(PathBuf, Bindings)> {
    let mut found = vec![(PathBuf::new(), bound.clone())];
    for component in pattern.components() {
        let step = component.as_os_str().to_string_lossy().into_owned();
        let is_plain = !matches!(component, Component::Normal(_)) || !has_placeholder(&step);
        let mut next = Vec::new();
        for (folder, bound) in found {
            let step = bound.fill(&step);
            if is_plain || !has_placeholder(&step) {
                // Filling in does not look: names with other characters are not changed by it.
                next.push((
                    if is_plain { folder.join(component) } else { folder.join(step) },
                    bound,
                ));
                continue;
            }
            let in_folder = if folder.as_os_str().is_empty() { Path::new(".") } else { &*folder };
            let Ok(entries) = fs::read_dir(in_folder) else { continue };
            let mut names: Vec<String> =
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into()).collect();
            names.sort();
            names.retain(|name| !name.starts_with('.') || step.starts_with('.'));
            let matches = names.iter().filter_map(|name| {
                matched(&step, name, &bound).map(|bound| (folder.join(name), bound))
            });
            next.extend(matches);
        }
        found = next;
    }
    // A dead link is there, and is refused when it is opened.
    found.retain(|(path, _)| path.symlink_metadata().is_ok());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(pattern: &str, text: &str, story: &str) -> Option<Option<String>> {
        matched(pattern, text, &Bindings::of(story, None)).map(|found| found.session)
    }

    #[test]
    fn placeholders_take_what_is_bound_and_as_little_as_they_can() {
        let of = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(sessions("{story}.npy", "play.npy", "play"), Some(None));
        assert_eq!(sessions("{story}.npy", "plays.npy", "play"), None);
        assert_eq!(sessions("{session}_{story}.npy", "ses-1_play.npy", "play"), of("ses-1"));
        let twice = "{session}/x_{session}_{story}";
        let bound = Bindings::of("a", None);
        assert_eq!(matched_steps(twice, "1/x_1_a", &bound).unwrap().session, Some("1".into()));
        assert_eq!(matched_steps(twice, "1/x_2_a", &bound), None);
        assert_eq!(matched_steps("{session}/{story}", "a/b/a", &bound), None);
        let free = matched("{session}_{story}.npy", "s_a_b.npy", &Bindings::default()).unwrap();
        assert_eq!((free.session.as_deref(), free.story.as_deref()), (Some("s"), Some("a_b")));
        assert_eq!(matched("{story}.npy", ".npy", &Bindings::default()), None);
        assert_eq!(
            matched("é{story}", "éü", &Bindings::default()).unwrap().story,
            Some("ü".into())
        );
    }

    #[test]
    fn paths_are_found_through_folders() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["s/ses-1/a.npy", "s/ses-2/b.npy", "s/ses-2/._a.npy", "s/note.txt"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let pattern = folder.path().join("s/{session}/{story}.npy");
        let names = |bound: &Bindings| -> Vec<String> {
            let found = found_paths(&pattern, bound);
            found.iter().map(|(_, bound)| bound.story.clone().unwrap()).collect()
        };
        assert_eq!(names(&Bindings::default()), ["a", "b"]);
        assert_eq!(names(&Bindings::of("b", None)), ["b"]);
        assert_eq!(names(&Bindings::of("c", None)), Vec::<String>::new());
    }
}
