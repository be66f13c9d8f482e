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

/// Row of the distance query − key in DeBERTa's table of 2 · `buckets` rows.
///
/// Up to half of the buckets there is a row for each distance; beyond, rows grow with the logarithm
/// up to `max_distance` (transformers: models/deberta_v2/modeling_deberta_v2.py:
/// make_log_bucket_position, in f32 there).
pub fn deberta_bucket(distance: i64, buckets: usize, max_distance: usize) -> u32 {
    let (n, mid) = (distance.unsigned_abs() as f32, buckets as i64 / 2);
    let bucket = if distance.abs() <= mid {
        distance
    } else {
        let whole = ln(((max_distance - 1) as f64 / mid as f64) as f32);
        let share = ln(n / mid as f32) / whole * (mid - 1) as f32;
        (share.ceil() as i64 + mid) * distance.signum()
    };
    (bucket + buckets as i64).clamp(0, 2 * buckets as i64 - 1) as u32
}

/// ln x, rounded once.
fn ln(x: f32) -> f32 {
    f64::from(x).ln() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As transformers has them: 256 buckets up to 512.
    #[test]
    fn buckets_of_deberta_are_exact_in_the_middle_and_end_at_the_span() {
        let v3 = |distance: i64| deberta_bucket(distance, 256, 512) as i64 - 256;
        assert_eq!([0, 1, -5, 127, -128].map(v3), [0, 1, -5, 127, -128]);
        let (distances, buckets) = (V3.map(|(distance, _)| distance), V3.map(|(_, bucket)| bucket));
        assert_eq!(distances.map(v3), buckets);
        assert_eq!(distances.map(|distance| -v3(-distance)), buckets);
        assert_eq!((v3(600), v3(-600)), (255, -256));
    }

    /// Distances and their buckets.
    const V3: [(i64, i64); 6] =
        [(129, 129), (150, 143), (200, 169), (256, 192), (400, 233), (511, 255)];

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
