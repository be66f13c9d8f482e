//! Language models on a card against the same on the CPU.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use super::{Batch, open};

/// A card on which candle's kernels run: a real one, or the stand-in that was built with them.
pub fn card() -> Option<Device> {
    let open = || -> candle_core::Result<Device> {
        let device = Device::new_cuda_with_stream(0)?;
        Tensor::new(&[1f32], &device)?.affine(2.0, 0.0)?;
        Ok(device)
    };
    match open() {
        Ok(device) => Some(device),
        Err(why) => {
            let required = std::env::var("VOXELCAST_REQUIRE").is_ok_and(|v| v == "training");
            assert!(!required, "VOXELCAST_REQUIRE=training: {why}");
            eprintln!("skipped: no training on a card here: {why}");
            None
        }
    }
}

/// The checkpoints of tests/golden that save_pretrained or llama.cpp's tools wrote.
fn checkpoints() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let inside = |folder: &str| golden.join(folder).read_dir().unwrap().map(|e| e.unwrap().path());
    let all = inside("causal").chain(inside("bert_family"));
    let is_gguf = |path: &Path| path.extension().is_some_and(|end| end == "gguf");
    let mut all: Vec<_> =
        all.filter(|path| is_gguf(path) || path.join("config.json").is_file()).collect();
    all.sort();
    all
}

#[test]
fn hidden_states_of_a_card_are_those_of_the_cpu() {
    let Some(card) = card() else { return };
    let checkpoints = checkpoints();
    assert!(checkpoints.len() > 15, "{checkpoints:?}");
    for path in checkpoints {
        // Rows of two lengths; ids that every one of them knows.
        let rows = [vec![2, 7, 11, 39, 5, 5, 8, 3, 17, 21, 30], vec![4, 30, 12, 3]];
        let batch = Batch::padded(&rows, 0);
        let states = |device: &Device| {
            let model = open(&path, device).unwrap();
            let layers: Vec<usize> = (0..=model.n_layers()).collect();
            model.states(&batch, &layers).unwrap()
        };
        for (layer, (on_cpu, on_card)) in states(&Device::Cpu).iter().zip(states(&card)).enumerate()
        {
            let flat = |state: &Tensor| state.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let width = on_cpu.dim(2).unwrap();
            for (i, (a, b)) in flat(on_cpu).into_iter().zip(flat(&on_card)).enumerate() {
                // What stands behind a row's end means nothing.
                let is_there = batch.attended[i / width];
                // Sums of three blocks in two orders, whose terms are larger than the sums.
                let bound = 256.0 * f32::EPSILON * (1.0 + a.abs());
                assert!(!is_there || (a - b).abs() <= bound, "{path:?} {layer}: {a}, {b}");
            }
        }
    }
}
