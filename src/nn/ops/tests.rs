//! Fused operations against those composed of candle's, values and gradients.

use candle_core::{Device, Tensor, Var};

use super::*;

const DEVICE: &Device = &Device::Cpu;

/// Numbers that look random, of size 1.
fn random(shape: &[usize], seed: u32) -> Var {
    let n: usize = shape.iter().product();
    let value = |i: usize| hash(i as u32, seed) as f32 / u32::MAX as f32 * 2.0 - 1.0;
    let tensor = Tensor::from_vec((0..n).map(value).collect::<Vec<f32>>(), shape, DEVICE).unwrap();
    Var::from_tensor(&tensor).unwrap()
}

/// The outputs, and the gradients of Σ (output · fixed random numbers) by every input, are equal
/// to `tolerance` of their largest value.
fn compare(
    inputs: &[Var],
    tolerance: f64,
    fused: impl Fn() -> Result<Tensor>,
    composed: impl Fn() -> Result<Tensor>,
) {
    let run = |f: &dyn Fn() -> Result<Tensor>| -> Vec<Vec<f32>> {
        let out = f().unwrap();
        let factors = random(out.dims(), 99);
        let gradients =
            (&out * factors.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = |input: &Var| gradients.get(input).expect("every input has one").clone();
        let all = std::iter::once(out.clone()).chain(inputs.iter().map(gradient));
        all.map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect()
    };
    let (fused, composed) = (run(&fused), run(&composed));
    for (which, (a, b)) in fused.iter().zip(&composed).enumerate() {
        assert_eq!(a.len(), b.len());
        let largest = b.iter().fold(0f32, |m, x| m.max(x.abs()));
        assert!(largest > 1e-3, "output {which} knows nothing");
        for (i, (x, y)) in a.iter().zip(b).enumerate() {
            let off = f64::from((x - y).abs());
            assert!(
                off <= tolerance * f64::from(largest),
                "output {which} (0: value, then gradients), number {i}: {x} and {y}"
            );
        }
    }
}

/// Sums of n f32 products in another order.
fn tolerance(n: usize) -> f64 {
    4.0 * f64::from(f32::EPSILON) * (n as f64).sqrt().max(4.0)
}

const SOME: Option<Dropout> = Some(Dropout { p: 0.25, seed: 0x1234_5678_9abc });

#[test]
fn embeddings_are_those_composed() {
    let tables = [random(&[50, 24], 1), random(&[9, 24], 2), random(&[2, 24], 3)];
    let (length, n) = (7, 21);
    let ids: Vec<u32> = (0..n).map(|i| hash(i, 5) % 50).collect();
    let types: Vec<u32> = (0..n).map(|i| hash(i, 6) % 2).collect();
    let of = || (tables[0].as_tensor(), tables[1].as_tensor(), tables[2].as_tensor());
    compare(
        &tables,
        tolerance(20),
        || embed(of(), &ids, &types, length),
        || composed::embed(of(), &ids, &types, length),
    );
}

#[test]
fn layer_norm_is_the_composed_one() {
    for (n, width) in [(1, 5), (3, 16), (200, 128), (65, 33)] {
        let inputs = [random(&[n, width], 1), random(&[width], 2), random(&[width], 3)];
        let [x, weight, bias] = &inputs;
        compare(
            &inputs,
            tolerance(n * width),
            || layer_norm(x, weight, bias, 1e-5),
            || composed::layer_norm(x, weight, bias, 1e-5),
        );
    }
}

#[test]
fn linear_is_the_composed_one() {
    for (n, n_in, n_out) in [(1, 3, 2), (300, 24, 70), (700, 128, 96), (33, 64, 256)] {
        let inputs = [random(&[n, n_in], 1), random(&[n_out, n_in], 2), random(&[n_out], 3)];
        let [x, weight, bias] = &inputs;
        compare(
            &inputs,
            tolerance(n.max(n_in)),
            || linear(x, weight, bias),
            || composed::linear(x, weight, bias),
        );
    }
}

#[test]
fn gelu_is_the_composed_one() {
    let x = random(&[77, 31], 1);
    let wide = || x.affine(6.0, 0.0);
    compare(std::slice::from_ref(&x), 1e-6, || gelu(&wide()?), || wide()?.gelu_erf());
}

#[test]
fn dropout_is_the_composed_one_and_does_nothing_without() {
    let inputs = [random(&[40, 500], 1), random(&[40, 500], 2)];
    let [x, residual] = &inputs;
    let set = SOME.unwrap();
    compare(&inputs[..1], 1e-6, || dropout(x, SOME), || composed::dropout(x, set));
    compare(
        &inputs,
        1e-6,
        || dropout_add(x, residual, SOME),
        || composed::dropout(x, set)? + residual.as_tensor(),
    );
    compare(
        &inputs,
        1e-6,
        || dropout_add(x, residual, None),
        || x.as_tensor() + residual.as_tensor(),
    );
}

#[test]
fn attention_is_the_composed_one() {
    for (rows, length, heads, size) in [(2, 5, 1, 3), (3, 40, 3, 8), (2, 129, 2, 64)] {
        let qkv = random(&[rows * length, 3 * heads * size], 1);
        let wide = || qkv.affine(3.0, 0.0);
        // Each row but the first ends in padding.
        let attended: Vec<bool> =
            (0..rows * length).map(|i| i % length < length - i / length).collect();
        let rows = Rows { rows, length, attended: &attended };
        for dropout in [None, SOME] {
            compare(
                std::slice::from_ref(&qkv),
                tolerance(9 * length * size),
                || attention(&wide()?, heads, rows, dropout),
                || composed::attention(&wide()?, heads, rows, dropout),
            );
        }
    }
}

#[test]
fn the_head_is_the_composed_one() {
    for (n, width, pieces) in [(1, 4, 3), (20, 24, 300), (270, 64, 1000)] {
        let inputs = [random(&[n, width], 1), random(&[pieces, width], 2), random(&[pieces], 3)];
        let [x, table, bias] = &inputs;
        let labels: Vec<u32> = (0..n).map(|i| hash(i as u32, 8) % pieces as u32).collect();
        let wide = || x.affine(2.0, 0.0);
        compare(
            &inputs,
            tolerance(pieces.max(width)),
            || mlm_loss(&wide()?, table, bias, &labels),
            || composed::mlm_loss(&wide()?, table, bias, &labels),
        );
    }
}

/// Gradients against differences of values: neither autograd nor the composed form is asked.
#[test]
fn gradients_are_slopes() {
    let length = 6;
    let attended: Vec<bool> = (0..2 * length).map(|i| i != 2 * length - 1).collect();
    let rows = Rows { rows: 2, length, attended: &attended };
    let inputs = [random(&[12, 24], 1), random(&[24], 2), random(&[24], 3), random(&[9, 8], 4)];
    let [x, weight, bias, table] = &inputs;
    let labels: Vec<u32> = (0..12).map(|i| i * 5 % 9).collect();
    let zeros = Tensor::zeros(9, candle_core::DType::F32, DEVICE).unwrap();
    let value = || -> Result<Tensor> {
        let x = layer_norm(x, weight, bias, 1e-6)?;
        let mixed = attention(&gelu(&x)?, 2, rows, SOME)?;
        mlm_loss(&mixed.affine(4.0, 0.0)?, table, &zeros, &labels)
    };
    let gradients = value().unwrap().backward().unwrap();
    for input in &inputs {
        let gradient: Vec<f32> =
            gradients.get(input).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let at: Vec<f32> = input.flatten_all().unwrap().to_vec1().unwrap();
        let largest = gradient.iter().fold(0f32, |m, g| m.max(g.abs()));
        let step = 2e-2;
        for i in (0..at.len()).step_by(7) {
            let moved = |by: f32| {
                let mut moved = at.clone();
                moved[i] += by;
                input.set(&Tensor::from_vec(moved, input.dims(), DEVICE).unwrap()).unwrap();
                value().unwrap().to_scalar::<f32>().unwrap()
            };
            // Fourth order, so that f32 sums and a step that outweighs them both have a place.
            let slope = (8.0 * (moved(step) - moved(-step))
                - (moved(2.0 * step) - moved(-2.0 * step)))
                / (12.0 * step);
            assert!((slope - gradient[i]).abs() < 5e-3 * largest, "{slope} and {}", gradient[i]);
        }
        input.set(&Tensor::from_vec(at, input.dims(), DEVICE).unwrap()).unwrap();
    }
}

#[test]
fn dropout_drops_its_share_and_differs_from_seed_to_seed() {
    let n = 200_000;
    for (p, seed) in [(0.1, 3), (0.5, u64::MAX / 3), (0.9, 1 << 40)] {
        let kept = kept(seed, p);
        let share = (0..n).filter(|&i| !kept(i)).count() as f64 / f64::from(n);
        let sd = (p * (1.0 - p) / f64::from(n)).sqrt();
        assert!((share - p).abs() < 4.0 * sd, "{share} dropped, expected {p}");
        let other = super::kept(seed + (1 << 32), p);
        let both = (0..n).filter(|&i| !kept(i) && !other(i)).count() as f64 / f64::from(n);
        assert!((both - p * p).abs() < 5.0 * p * sd.max(1e-3), "{both} by both seeds");
    }
    assert!((0..n).all(kept(7, 0.0)));
}
