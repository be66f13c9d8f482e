//! A study whose voxels have a place: pictures of the brain, results as NIfTI.

use std::path::Path;

use voxelcast::io::nifti::{Grid, Mask, read_volume, write_volume};
use voxelcast::io::npy;

use super::workbench::{GLOVE_ONLY, StudyBench, read_vector, text, voxelcast};

const N_VOXELS: usize = 20;
const SHAPE: [usize; 3] = [4, 5, 3];
const AFFINE: [[f64; 4]; 3] =
    [[-3.0, 0.0, 0.0, 90.0], [0.0, 3.0, 0.0, -126.0], [0.0, 0.0, 3.5, 7.0]];

/// A third of the grid's voxels, in C order: one of each column, at every height in turn.
pub fn inside() -> Vec<usize> {
    (0..SHAPE.iter().product()).filter(|at| (at + at / 3) % 3 == 0).collect()
}

pub fn write_mask(path: &Path, inside: &[usize]) {
    let mut values = vec![0.0; SHAPE.iter().product()];
    inside.iter().for_each(|&at| values[at] = 1.0);
    write_volume(path, &Grid::new(SHAPE, AFFINE), &values).expect("written");
}

fn write_table(path: &Path, rows: &[[i32; 3]]) {
    let values: Vec<f64> = rows.iter().flatten().map(|&value| f64::from(value)).collect();
    npy::write(path, &[rows.len(), 3], &values).expect("written");
}

fn page(out: &Path) -> String {
    std::fs::read_to_string(out.join("report.html")).expect("it is there")
}

#[test]
fn results_per_voxel_stand_where_the_mask_says_and_are_drawn() {
    let bench = StudyBench::new(21, 60, N_VOXELS);
    write_mask(&bench.file("mask.nii.gz"), &inside());
    let (outcome, out) = bench.run(&[GLOVE_ONLY, "bold.s1.mask = \"mask.nii.gz\""], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let html = page(&out);
    assert!(html.contains("id=\"brain-maps\"") && html.contains("data:image/png;base64,"));
    assert!(html.contains("3 axial slices"), "the grid has three");
    // Kept beside the results: the study's own may go.
    std::fs::remove_file(bench.file("mask.nii.gz")).expect("removed");
    let (again, volumes) = (out.join("figures"), out.join("nifti"));
    let flags = ["--figures", text(&again), "--nifti", text(&volumes)];
    let outcome = voxelcast(&[&["report", text(&out)], &flags[..]].concat());
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert_eq!(page(&out), html);
    assert!(outcome.stdout.contains("8 NIfTI files"), "{}", outcome.stdout);
    assert!(
        again.join("brain-s1-glove.png").is_file() && again.join("brain-s1-glove.svg").is_file()
    );
    assert!(!volumes.join("s2").exists(), "s2 has no mask");
    for model in ["glove", "glove-lagged"] {
        for name in ["test_correlation", "best_alpha", "p_values", "significant"] {
            let path = volumes.join(format!("s1/{model}/{name}.nii.gz"));
            let volume = read_volume(&path).expect("a volume");
            assert_eq!(volume.grid.affine().expect("an affine"), AFFINE);
            let values = out.join(format!("models/s1/{model}/{name}.npy"));
            let values = read_vector(&values, N_VOXELS);
            let mut expected = vec![0f32; SHAPE.iter().product()];
            for (&at, value) in inside().iter().zip(values) {
                expected[at] = value as f32;
            }
            assert_eq!(volume.values, expected, "{name}");
        }
    }
    assert_eq!(
        Mask::read(&out.join("models/s1/mask.nii.gz")).expect("a mask").n_voxels(),
        N_VOXELS
    );
}

#[test]
fn a_flat_map_is_drawn_in_place_of_slices() {
    let bench = StudyBench::new(22, 60, N_VOXELS);
    let rows: Vec<[i32; 3]> = (0..90).map(|i| [i / 10, i % 10, i % N_VOXELS as i32]).collect();
    write_table(&bench.file("pixels.npy"), &rows);
    let settings = [GLOVE_ONLY, "bold.s2.pixels = \"pixels.npy\""];
    let (outcome, out) = bench.run(&settings, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let html = page(&out);
    assert!(html.contains("flat map") && !html.contains("axial slices"));
    // Another table is another study.
    write_table(&bench.file("pixels.npy"), &rows[1..]);
    bench.run_into(&out, &settings, &[]).refused(3, &["pixels.npy", "--force"]);
    // Without a mask there is nothing to write.
    let nifti = bench.file("nifti");
    voxelcast(&["report", text(&out), "--nifti", text(&nifti)])
        .refused(3, &["mask", "[bold.SUBJECT]"]);
}

#[test]
fn masks_and_pixels_that_do_not_fit_the_bold_are_refused_before_anything_is_computed() {
    let bench = StudyBench::new(23, 60, N_VOXELS);
    write_mask(&bench.file("short.nii"), &inside()[1..]);
    write_table(&bench.file("beyond.npy"), &[[0, 0, 0], [0, 1, N_VOXELS as i32]]);
    write_table(&bench.file("negative.npy"), &[[0, -1, 0]]);
    npy::write(&bench.file("wide.npy"), &[1, 4], &[0f64; 4]).expect("written");
    std::fs::write(bench.file("text.nii"), "no image").expect("written");
    for (line, parts) in [
        ("bold.s2.mask = \"short.nii\"", &["short.nii", "20 voxels", "19", "[bold.s2]"][..]),
        ("bold.s1.mask = \"text.nii\"", &["text.nii"]),
        ("bold.s1.mask = \"none.nii\"", &["none.nii"]),
        ("bold.s1.pixels = \"beyond.npy\"", &["beyond.npy, row 1", "voxel below 20"]),
        ("bold.s1.pixels = \"negative.npy\"", &["negative.npy, row 0", "-1"]),
        ("bold.s1.pixels = \"wide.npy\"", &["wide.npy", "(n_pixels, 3)", "[1, 4]"]),
    ] {
        bench.check(&[GLOVE_ONLY, line]).refused(3, parts);
    }
    bench.check(&[GLOVE_ONLY, "bold.s1.masks = \"a.nii\""]).refused(2, &["masks", "mask"]);
}
