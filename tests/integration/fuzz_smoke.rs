//! The fuzz targets on every run of the tests: their bodies over their seeds and over mutations of
//! these, the same ones each time. `scripts/fuzz` lets libFuzzer search instead.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use fuzz::Target;

/// Mutations of a target; a second or so.
const N_MUTATIONS: usize = 400;
/// Seeds above this size are read once and not mutated.
const MAX_BYTES: usize = 40_000;

/// Files of a folder in the order of their names.
fn files(folder: &Path, extension: Option<&str>) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it is there").path()).collect();
    paths.retain(|path| path.is_file());
    paths.retain(|path| extension.is_none_or(|e| path.extension().is_some_and(|is| is == e)));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("it is there")).collect()
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = files(&root.join("fuzz/seeds").join(target.name), None);
    for (folder, extension) in target.golden {
        seeds.extend(files(&root.join("tests/golden").join(folder), Some(extension)));
    }
    seeds
}

/// Runs a body; an input that it does not stand is kept under `target/`.
fn run(target: &Target, data: &[u8], what: &str) -> bool {
    match catch_unwind(AssertUnwindSafe(|| (target.run)(data))) {
        Ok(is_read) => is_read,
        Err(panic) => {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}", target.name));
            std::fs::write(&kept, data).expect("written");
            let why = panic.downcast_ref::<String>().map_or("see above", String::as_str);
            panic!("{what}, kept as {}: {why}", kept.display());
        }
    }
}

/// One to four changes: bits, numbers at the edge of their type, cuts, repeats, other seeds' parts,
/// and decimal numbers that are too large.
fn mutate(rng: &mut ChaCha8Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=data.len());
        let end = (at + rng.random_range(0..=64)).min(data.len());
        match rng.random_range(0..8) {
            0 if at < data.len() => data[at] ^= 1 << rng.random_range(0..8),
            1 if at < data.len() => data[at] = [0, 0x7f, 0x80, 0xff][rng.random_range(0..4)],
            2 | 3 => {
                let edges = [0, 1, 0x7fff, 0xffff, 1 << 31, u64::from(u32::MAX), 1 << 62, u64::MAX];
                let edge = edges[rng.random_range(0..edges.len())];
                let width = [1, 2, 4, 8][rng.random_range(0..4)].min(data.len() - at);
                data[at..at + width].copy_from_slice(&edge.to_le_bytes()[..width]);
            }
            4 => data.truncate(at),
            5 => drop(data.drain(at..end)),
            6 => {
                let other = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                let to = (from + rng.random_range(0..=64)).min(other.len());
                data.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let Some(digit) = data[at..].iter().position(u8::is_ascii_digit) else { continue };
                let large = ["4294967296", "18446744073709551615", "-1", "1e308", "000"];
                let large = large[rng.random_range(0..large.len())].bytes();
                data.splice(at + digit..=at + digit, large);
            }
        }
    }
    data
}

/// All seeds and [`N_MUTATIONS`] mutations of one target; what there was.
fn smoke(name: &str) -> String {
    let target = fuzz::TARGETS.iter().find(|target| target.name == name).expect("a target");
    let seeds = seeds(target);
    let start = Instant::now();
    let is_read = |data: &&Vec<u8>| run(target, data, "a seed");
    let n_read = seeds.iter().filter(is_read).count();
    assert!(n_read > 0, "{name}: none of {} seeds is read", seeds.len());
    let seeds: Vec<_> = seeds.into_iter().filter(|seed| seed.len() <= MAX_BYTES).collect();
    let seed = name.bytes().fold(0, |seed, byte| 31 * seed % (1 << 40) + u64::from(byte));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut n_accepted = 0;
    for index in 0..N_MUTATIONS {
        let data = mutate(&mut rng, &seeds);
        n_accepted += usize::from(run(target, &data, &format!("mutation {index}")));
    }
    assert!(n_accepted < N_MUTATIONS, "{name}: nothing is refused");
    format!(
        "{name}: {n_read} of {} seeds read, {n_accepted} of {N_MUTATIONS} mutations, {:.1} s",
        seeds.len(),
        start.elapsed().as_secs_f64()
    )
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                println!("{}", smoke(stringify!($name)));
            }
        )*

        #[test]
        fn every_target_is_run_here_and_by_libfuzzer() {
            let here = [$(stringify!($name)),*];
            let all: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(here[..], all[..]);
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).expect("it is there");
            for name in all {
                let path = format!("targets/{name}.rs");
                assert!(manifest.contains(&path), "{path} in fuzz/Cargo.toml");
                let text = std::fs::read_to_string(root.join("fuzz").join(&path)).expect("it is there");
                assert!(text.contains(&format!("::{name}(data)")), "{path}");
            }
        }
    };
}

targets! {
    npy npz hdf5 nifti gifti cifti dicts joblib archive pickle textgrid table transcript gentle
    word2vec glove safetensors tokenizer model_folder gguf saved_model study respdict alphas predict
    score report export
}
