//! Operations of causal models against those composed of candle's.

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
fn causal_attention_is_the_composed_one() {
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
            let causal = Causal { heads, kv_heads, size, length, window, scale, turns, norms };
            let fused = causal_attention(&qkv, &causal).unwrap();
            same(&fused, &composed::causal_attention(&qkv, &causal).unwrap(), 9 * size * length);
        }
    }
}

#[test]
fn a_window_of_one_gives_each_token_its_own_value() {
    let (length, size) = (7, 4);
    let qkv = random(&[length, 3 * size], 1);
    let (heads, kv_heads, scale) = (1, 1, 1.0);
    let window = Some(1);
    let (turns, norms) = (None, None);
    let causal = Causal { heads, kv_heads, size, length, window, scale, turns, norms };
    let own = qkv.narrow(1, 2 * size, size).unwrap();
    same(&causal_attention(&qkv, &causal).unwrap(), &own, 1);
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
