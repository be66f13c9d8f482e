//! Which stories are held out, and which are validated together.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::ridge::folds::deal;
use crate::study::inputs::{Inputs, Subject};
use crate::study_file::{Folds, SplitHow, Study};

/// Indices into the study's units: stories (sorted by name), or blocks of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Split {
    /// In the seeded order.
    pub train: Vec<usize>,
    /// In the seeded order, or as named.
    pub test: Vec<usize>,
    /// Fold of each training story, in the order of `train`.
    pub fold_of_train: Vec<usize>,
    /// Number of folds.
    pub n_folds: usize,
}

/// The split of a study, and each subject's own.
#[derive(Debug, Clone)]
pub struct Splits {
    /// Over all units.
    pub all: Split,
    of_subject: Vec<Split>,
}

impl Splits {
    /// Draws the split. Where subjects may lack units, each keeps those it has of it: its folds are
    /// dealt anew, in the same order.
    /// # Errors
    /// As [`split`]; `Error::Values` (exit 3) for a subject that heard no test story; `Error::Usage`
    /// for one with too few training stories for the folds.
    pub fn of_study(study: &Study, inputs: &Inputs) -> Result<Self> {
        let names: Vec<&str> = inputs.units.iter().map(|unit| unit.name.as_str()).collect();
        let all = split(study, &names)?;
        let of_subject = inputs.subjects.iter().map(|subject| match study.units.may_differ() {
            true => own_split(study, &all, subject),
            false => Ok(all.clone()),
        });
        let of_subject = of_subject.collect::<Result<_>>()?;
        Ok(Self { all, of_subject })
    }

    /// A subject's, by its index.
    pub fn of(&self, subject: usize) -> &Split {
        &self.of_subject[subject]
    }

    /// Whether some subject's is not that of all.
    pub fn differ(&self) -> bool {
        self.of_subject.iter().any(|own| *own != self.all)
    }
}

/// What a subject has of a split.
fn own_split(study: &Study, all: &Split, subject: &Subject) -> Result<Split> {
    let has = |&&unit: &&usize| subject.places[unit].is_some();
    let test: Vec<usize> = all.test.iter().filter(has).copied().collect();
    let what = if study.units.by_block { "blocks" } else { "stories" };
    if test.is_empty() {
        return Err(Error::Values {
            place: format!("[bold.{}]", subject.name),
            problem: format!("expected BOLD of a test story, found none of {}", all.test.len()),
            hint:
                "name test stories that every subject heard ([split] test), or leave the subject \
                   out"
                .into(),
        });
    }
    let own = all.train.iter().zip(&all.fold_of_train).filter(|(unit, _)| has(unit));
    let (train, fold_of_all): (Vec<usize>, Vec<usize>) = own.map(|(&u, &k)| (u, k)).unzip();
    let n_wanted = match &study.folds {
        Folds::Count(k) => *k,
        Folds::LeaveOneStoryOut | Folds::Names(_) => 2,
    };
    let mut folds = fold_of_all.clone();
    folds.sort_unstable();
    folds.dedup();
    let is_named = matches!(study.folds, Folds::Names(_));
    if train.len() < n_wanted || (is_named && folds.len() < 2) {
        let n = if is_named { folds.len() } else { train.len() };
        let got = if is_named { "folds with stories it heard" } else { what };
        return Err(Error::Usage {
            place: format!("[ridge], folds, subject {:?}", subject.name),
            problem: format!(
                "expected at least {n_wanted} training {what}, one per fold, got {n} {got}"
            ),
            hint: "use fewer folds or fewer test stories, leave the subject out, or set \
                   unit = \"block\" in [split]"
                .into(),
        });
    }
    let (fold_of_train, n_folds) = match &study.folds {
        Folds::Count(k) => (deal(train.len(), *k)?, *k),
        Folds::LeaveOneStoryOut => ((0..train.len()).collect(), train.len()),
        Folds::Names(_) => {
            let own = fold_of_all.iter().map(|fold| folds.partition_point(|other| other < fold));
            (own.collect(), folds.len())
        }
    };
    Ok(Split { train, test, fold_of_train, n_folds })
}

/// The study's split of the units called `names`: stories, sorted, or their blocks.
///
/// The names are shuffled by ChaCha8 seeded with `seed`; the first ones are the test stories
/// (unless named), the rest train in that order.
/// # Errors
/// `Error::Usage` (exit 2) for names that are no stories, and for too few stories on either side.
pub fn split(study: &Study, names: &[&str]) -> Result<Split> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(study.seed));
    // A story's name means all of its blocks.
    let index = |place: &str, name: &str| {
        let is_block = |unit: &str| unit.rsplit_once(':').is_some_and(|(story, _)| story == name);
        let mut found: Vec<usize> = (0..names.len()).filter(|&at| names[at] == name).collect();
        if found.is_empty() && study.units.by_block {
            found = (0..names.len()).filter(|&at| is_block(names[at])).collect();
        }
        match found.is_empty() {
            false => Ok(found),
            true => Err(Error::Usage {
                place: place.into(),
                problem: format!("no story is called {name:?}"),
                hint: "names as in the word table; stories without BOLD do not count".into(),
            }),
        }
    };
    let test: Vec<usize> = match &study.split {
        SplitHow::Names(wanted) => {
            let found = wanted
                .iter()
                .map(|name| index("[split], test", name))
                .collect::<Result<Vec<_>>>()?
                .concat();
            if let Some(i) = (0..found.len()).find(|&i| found[..i].contains(&found[i])) {
                return Err(Error::Usage {
                    place: "[split], test".into(),
                    problem: format!("{:?} is named twice", names[found[i]]),
                    hint: "name each test story once".into(),
                });
            }
            found
        }
        SplitHow::Count(n) => order[..(*n).min(names.len())].to_vec(),
        SplitHow::Fraction(share) => {
            let n = (share * names.len() as f64).round().max(1.0) as usize;
            order[..n.min(names.len())].to_vec()
        }
    };
    let train: Vec<usize> = order.into_iter().filter(|i| !test.contains(i)).collect();
    if train.len() < 2 {
        return Err(Error::Usage {
            place: "[split]".into(),
            problem: format!(
                "{} of {} stories left to train on, expected at least 2",
                train.len(),
                names.len()
            ),
            hint: "use fewer test stories".into(),
        });
    }
    let (fold_of_train, n_folds) = match &study.folds {
        Folds::Count(k) => (deal(train.len(), *k)?, *k),
        Folds::LeaveOneStoryOut => ((0..train.len()).collect(), train.len()),
        Folds::Names(lists) => {
            let mut fold_of_train = vec![None; train.len()];
            for (k, list) in lists.iter().enumerate() {
                let index = |name: &String| index("[ridge], folds", name);
                for story in list.iter().map(index).collect::<Result<Vec<_>>>()?.concat() {
                    let name = names[story];
                    let slot = train.iter().position(|&t| t == story);
                    let taken = slot.is_none_or(|at| fold_of_train[at].is_some());
                    match slot {
                        Some(at) if !taken => fold_of_train[at] = Some(k),
                        _ => {
                            let problem =
                                if slot.is_none() { "is a test story" } else { "is in two folds" };
                            return Err(Error::Usage {
                                place: "[ridge], folds".into(),
                                problem: format!("{name:?} {problem}"),
                                hint: "each training story is in exactly one fold".into(),
                            });
                        }
                    }
                }
            }
            let missing = fold_of_train.iter().position(Option::is_none).map(|at| names[train[at]]);
            if let Some(name) = missing {
                return Err(Error::Usage {
                    place: "[ridge], folds".into(),
                    problem: format!("training story {name:?} is in no fold"),
                    hint: "each training story is in exactly one fold".into(),
                });
            }
            (fold_of_train.into_iter().flatten().collect(), lists.len())
        }
    };
    Ok(Split { train, test, fold_of_train, n_folds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::units::Place;
    use std::path::Path;

    const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

    fn study(lines: &str) -> Study {
        let text = format!(
            "[stories]\npath='w.tsv'\n[bold.s]\npath='{{story}}.npy'\n[[space]]\nkind='word_rate'\n{lines}"
        );
        crate::study_file::from_text(&text, Path::new("."), "S.toml").unwrap()
    }

    #[test]
    fn every_story_is_in_train_or_test_and_folds_are_dealt_in_order() {
        let found = split(&study("[split]\nn_test = 2\n[ridge]\nfolds = 3"), &NAMES).unwrap();
        assert_eq!((found.test.len(), found.train.len()), (2, 5));
        let mut all: Vec<usize> = found.train.iter().chain(&found.test).copied().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(found.fold_of_train, [0, 1, 2, 0, 1]);
        let again = split(&study("[split]\nn_test = 2\n[ridge]\nfolds = 3"), &NAMES).unwrap();
        assert_eq!(found, again);
        let seeds: std::collections::HashSet<Vec<usize>> = (0..20)
            .map(|s| {
                split(&study(&format!("[split]\nseed = {s}\n[ridge]\nfolds = 2")), &NAMES)
                    .unwrap()
                    .train
            })
            .collect();
        assert!(seeds.len() > 10, "the seed changes the order");
    }

    #[test]
    fn names_decide_where_they_are_given() {
        let lines = "[split]\ntest = ['g', 'a']\n[ridge]\nfolds = [['b', 'c'], ['d', 'e', 'f']]";
        let found = split(&study(lines), &NAMES).unwrap();
        assert_eq!(found.test, [6, 0]);
        for (&story, &fold) in found.train.iter().zip(&found.fold_of_train) {
            assert_eq!(fold, usize::from(story > 2));
        }
        let loso = split(&study("[ridge]\nfolds = 'loso'\n[split]\nn_test = 1"), &NAMES).unwrap();
        assert_eq!(loso.n_folds, 6);
    }

    /// A subject without some units.
    fn subject(without: &[usize]) -> Subject {
        let place = |unit: usize| Place { file: unit, rows: 0..9 };
        let places = (0..NAMES.len()).map(|u| Some(place(u)).filter(|_| !without.contains(&u)));
        Subject {
            name: "s1".into(),
            heard: vec![],
            files: vec![],
            repeats: vec![],
            places: places.collect(),
            n_voxels: 1,
            feature_trs: vec![],
        }
    }

    #[test]
    fn a_subject_keeps_what_it_heard_and_its_folds_are_dealt_anew() {
        let own = |lines: &str, without: &[usize]| {
            let study = study(&format!("{lines}\n[split]\nstories = 'own'\ntest = ['a', 'g']"));
            let all = split(&study, &NAMES).unwrap();
            own_split(&study, &all, &subject(without)).map(|own| (all, own))
        };
        let (all, found) = own("[ridge]\nfolds = 2", &[0, 3]).unwrap();
        assert_eq!(found.test, [6]);
        let kept: Vec<usize> = all.train.iter().copied().filter(|&story| story != 3).collect();
        assert_eq!((found.train, found.fold_of_train), (kept, vec![0, 1, 0, 1]));
        let (_, found) = own("[ridge]\nfolds = 'loso'", &[3]).unwrap();
        assert_eq!((found.n_folds, found.fold_of_train), (4, vec![0, 1, 2, 3]));
        // A named fold of stories that it did not hear is none.
        let named = "[ridge]\nfolds = [['d'], ['b', 'c'], ['e', 'f']]";
        let (_, found) = own(named, &[3]).unwrap();
        assert_eq!(found.n_folds, 2);
        for (&story, &fold) in found.train.iter().zip(&found.fold_of_train) {
            assert_eq!(fold, usize::from(story > 2));
        }
        let (all, found) = own("[ridge]\nfolds = 2", &[]).unwrap();
        assert_eq!(all, found, "a subject that heard all");
        for (lines, without, code, says) in [
            ("[ridge]\nfolds = 2", &[0, 6][..], 3, "none of 2"),
            ("[ridge]\nfolds = 4", &[1, 2], 2, "at least 4 training stories, one per fold, got 3"),
            (named, &[1, 2, 3], 2, "got 1 folds"),
        ] {
            let error = own(lines, without).unwrap_err();
            assert_eq!(error.exit_code(), code, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_storys_name_means_all_of_its_blocks() {
        let names = ["a:1", "a:2", "b:1", "b:2", "b:10"];
        let of = |test: &str| {
            let lines = format!("[split]\nunit = 'block'\ntest = {test}\n[ridge]\nfolds = 2");
            split(&study(&lines), &names)
        };
        assert_eq!(of("['b']").unwrap().test, [2, 3, 4]);
        assert_eq!(of("['b:10', 'a:1']").unwrap().test, [4, 0]);
        for (test, says) in [("['c']", "\"c\""), ("['b', 'b:2']", "\"b:2\" is named twice")] {
            let error = of(test).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_split_says_why() {
        for (lines, says) in [
            ("[split]\ntest = ['z']", "no story is called \"z\""),
            ("[split]\ntest = ['a', 'a']", "named twice"),
            ("[split]\nn_test = 6", "1 of 7 stories left"),
            ("[ridge]\nfolds = 7\n[split]\nn_test = 1", "2 to 6 folds"),
            ("[split]\ntest=['a']\n[ridge]\nfolds = [['a'], ['b']]", "\"a\" is a test story"),
            ("[split]\ntest=['a']\n[ridge]\nfolds = [['b'], ['b']]", "\"b\" is in two folds"),
            ("[split]\ntest=['a']\n[ridge]\nfolds = [['b'], ['c']]", "is in no fold"),
        ] {
            let error = split(&study(lines), &NAMES).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(says), "{lines}: {error}");
        }
    }
}
