//! Which row of a table stands for a distance between two tokens.

/// Rows of MPNet's table.
pub const MPNET_BUCKETS: usize = 32;

/// Row of the distance key − query in MPNet's table.
///
/// Half of the rows are for keys behind the query; of each half, half are for one distance each and
/// the others grow with the logarithm up to 128 (transformers: models/mpnet/modeling_mpnet.py:
/// MPNetEncoder.relative_position_bucket, in f32 there).
pub fn mpnet_bucket(distance: i64) -> u32 {
    let n = distance.unsigned_abs();
    let bucket = match n {
        0..8 => n as u32,
        _ => (8 + (ln(n as f32 / 8.0) / ln(16.0) * 8.0) as u32).min(15),
    };
    if distance > 0 { 16 + bucket } else { bucket }
}

/// ln x, rounded once.
fn ln(x: f32) -> f32 {
    f64::from(x).ln() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where transformers' buckets begin.
    #[test]
    fn buckets_of_mpnet_grow_with_the_logarithm() {
        let borders = [(8, 8), (12, 9), (16, 10), (23, 11), (32, 12), (46, 13), (64, 14), (91, 15)];
        for (distance, bucket) in borders {
            assert_eq!(mpnet_bucket(-distance), bucket);
            assert_eq!(mpnet_bucket(distance), 16 + bucket);
            assert_eq!(mpnet_bucket(1 - distance), bucket - 1);
        }
        assert_eq!([0, -7, 1, 600, -600].map(mpnet_bucket), [0, 7, 17, 31, 15]);
    }
}
