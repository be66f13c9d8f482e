//! Operations of models that are only read against those composed of candle's.

use candle_core::{Device, Tensor};

use super::*;

fn random(shape: &[usize], seed: u32) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| hash(i as u32, seed) as f32 / u32::MAX as f32 * 4.0 - 2.0;
    Tensor::from_vec((0..n).map(value).collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn same(fused: &Tensor, composed: &Tensor, n_terms: usize) {
    assert_eq!(fused.dims(), composed.dims());
    // Sums of f32 products in another order.
    let bound = 8.0 * f32::EPSILON * (n_terms as f32).sqrt().max(4.0);
    for (i, (a, b)) in values(fused).iter().zip(values(composed)).enumerate() {
        assert!((a - b).abs() <= bound * (1.0 + b.abs()), "{i}: {a} and {b}");
    }
}

#[test]
fn attention_that_is_read_is_the_composed_one() {
    for (rows, length, heads, kv_heads, size) in
        [(1, 1, 1, 1, 2), (2, 5, 3, 1, 4), (3, 40, 4, 2, 8), (1, 130, 2, 2, 16), (2, 200, 6, 3, 64)]
    {
        let qkv = random(&[rows * length, (heads + 2 * kv_heads) * size], 1);
        let (query, key) = (values(&random(&[size], 2)), values(&random(&[size], 3)));
        let all = Turns::new(&vec![0.3; size / 2], length);
        let some = Turns::new(&[0.7], length);
        for (turns, has_norms, window) in [
            (None, false, None),
            (Some(&all), false, None),
            (Some(&some), true, Some(3)),
            (None, true, Some(1)),
            (Some(&all), false, Some(100)),
        ] {
            let norms = HeadNorms { query: &query, key: &key, eps: 1e-5 };
            let norms = has_norms.then_some(norms);
            let scale = 0.37;
            let sight =
                Sight { window, scale, turns, norms, ..plain(heads, kv_heads, size, length) };
            let fused = read_attention(&qkv, &sight).unwrap();
            same(&fused, &composed::read_attention(&qkv, &sight).unwrap(), 9 * size * length);
        }
    }
}

/// Every token sees itself and all before it.
fn plain(heads: usize, kv_heads: usize, size: usize, length: usize) -> Sight<'static> {
    Sight {
        heads,
        kv_heads,
        size,
        length,
        lengths: None,
        window: None,
        scale: 1.0,
        turns: None,
        norms: None,
        distances: None,
    }
}

#[test]
fn attention_both_ways_is_the_composed_one_for_every_token_that_is_there() {
    let (heads, size) = (3, 8);
    for length in [1usize, 7, 96, 97, 230] {
        let lengths = [length, length.div_ceil(3), 1];
        let n = lengths.len() * length;
        let qkv = random(&[n, 3 * heads * size], 1);
        let turns = Turns::new(&[0.3, 0.1], length);
        let rows: Vec<u32> = (0..2 * length - 1).map(|i| hash(i as u32, 5) % 6).collect();
        let table = values(&random(&[6, heads], 6));
        let none = Distances { rows: &rows, heads, bias: None, vectors: None };
        let bias = Distances { bias: Some(&table), ..none };
        let [keys, queries] = [7, 8].map(|seed| values(&random(&[6, heads * size], seed)));
        let vectors = Distances { vectors: Some([&keys, &queries]), ..none };
        let all = Distances { vectors: Some([&keys, &queries]), ..bias };
        for (turns, window, distances) in [
            (None, None, None),
            (Some(&turns), Some(1), None),
            (Some(&turns), Some(5), None),
            (None, Some(70), Some(bias)),
            (None, None, Some(bias)),
            (Some(&turns), Some(90), Some(vectors)),
            (None, None, Some(all)),
        ] {
            let lengths = Some(&lengths[..]);
            let plain = plain(heads, heads, size, length);
            let sight = Sight { lengths, window, scale: 0.37, turns, distances, ..plain };
            let fused = values(&read_attention(&qkv, &sight).unwrap());
            let composed = values(&composed::read_attention(&qkv, &sight).unwrap());
            for (i, (a, b)) in fused.iter().zip(composed).enumerate() {
                let token = i / (heads * size);
                let is_there = token % length < sight.lengths.unwrap()[token / length];
                let bound = 8.0 * f32::EPSILON * ((9 * size * length) as f32).sqrt();
                let is_right = if is_there { (a - b).abs() <= bound } else { *a == 0.0 };
                assert!(is_right, "{length} {window:?} {token}: {a} and {b}");
            }
        }
    }
}

#[test]
fn a_window_of_one_gives_each_token_its_own_value() {
    let (length, size) = (7, 4);
    let qkv = random(&[length, 3 * size], 1);
    let own = qkv.narrow(1, 2 * size, size).unwrap();
    for lengths in [None, Some(&[length][..])] {
        let sight = Sight { window: Some(1), lengths, ..plain(1, 1, size, length) };
        same(&read_attention(&qkv, &sight).unwrap(), &own, 1);
    }
}

#[test]
fn rms_norm_is_the_composed_one() {
    for (n, width) in [(1, 5), (70, 16), (200, 129)] {
        let (x, weight) = (random(&[n, width], 1), random(&[width], 2));
        let fused = rms_norm(&x, &weight, 1e-5).unwrap();
        same(&fused, &composed::rms_norm(&x, &weight, 1e-5).unwrap(), width);
    }
}

#[test]
fn activations_are_the_composed_ones() {
    let x = random(&[37, 34], 1).affine(5.0, 0.0).unwrap();
    for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        same(&activate(&x, activation).unwrap(), &composed::activate(&x, activation).unwrap(), 4);
        same(&gated(&x, activation).unwrap(), &composed::gated(&x, activation).unwrap(), 4);
    }
    let far = Tensor::new(&[[-1e30f32, -200.0, 200.0, 1e30]], &Device::Cpu).unwrap();
    for activation in [Activation::Silu, Activation::GeluTanh] {
        let found = values(&activate(&far, activation).unwrap());
        assert!(found[..2].iter().all(|x| x.abs() < 1e-8), "{found:?}");
        assert_eq!(found[2..], [200.0, 1e30]);
    }
}

#[test]
fn kept_weights_multiply_as_a_linear_layer() {
    for (n, n_in, n_out) in [(1, 3, 2), (300, 24, 70), (700, 128, 96), (97, 64, 33)] {
        let (x, weight) = (random(&[n, n_in], 1), random(&[n_out, n_in], 2));
        let (bias, plus) = (random(&[n_out], 3), random(&[n, n_out], 4));
        let product = x.matmul(&weight.t().unwrap()).unwrap();
        let with_bias = product.broadcast_add(&bias).unwrap();
        let of = |bias| Weight::new(values(&weight), n_in, bias, &Device::Cpu).unwrap();
        same(&of(None).times(&x, None).unwrap(), &product, 4 * n_in);
        let kept = of(Some(values(&bias)));
        same(&kept.times(&x, None).unwrap(), &with_bias, 4 * n_in);
        same(&kept.times(&x, Some(&plus)).unwrap(), &(with_bias + plus).unwrap(), 4 * n_in);
    }
}
