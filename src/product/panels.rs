//! Rows of a tile as panels of 32 voxels, and back.

/// Voxels per panel.
pub const PANEL: usize = 32;

/// One row of a panel.
pub type PanelRow = [f32; PANEL];

/// Some rows of a matrix that is stored panel by panel.
#[derive(Debug, Clone, Copy)]
pub struct PanelRows<'a> {
    /// All panels, `stride` rows each.
    pub data: &'a [PanelRow],
    /// Rows of the whole matrix.
    pub stride: usize,
    /// First of the rows that are meant.
    pub first: usize,
    /// How many.
    pub n_rows: usize,
}

impl<'a> PanelRows<'a> {
    /// A matrix of `n_rows` rows, whole.
    pub fn whole(data: &'a [PanelRow], n_rows: usize) -> Self {
        Self { data, stride: n_rows, first: 0, n_rows }
    }

    /// The rows of one panel.
    pub fn panel(&self, panel: usize) -> &'a [PanelRow] {
        &self.data[panel * self.stride + self.first..][..self.n_rows]
    }
}

/// Panels of a tile of `width` voxels.
pub fn n_panels(width: usize) -> usize {
    width.div_ceil(PANEL)
}

/// Writes a matrix stored panel by panel, `n_rows` each, as rows of `width` voxels.
pub fn to_rows(panels: &[PanelRow], n_rows: usize, width: usize, out: &mut [f32]) {
    for (p, panel) in panels.chunks_exact(n_rows.max(1)).enumerate() {
        let (start, live) = (p * PANEL, PANEL.min(width - p * PANEL));
        for (row, out) in panel.iter().zip(out.chunks_exact_mut(width)) {
            out[start..start + live].copy_from_slice(&row[..live]);
        }
    }
}

/// What stands at a panel's voxels in a slice over the tile; `fill` beyond its end.
pub fn of_panel<T: Copy>(values: &[T], panel: usize, fill: T) -> [T; PANEL] {
    let values = &values[(panel * PANEL).min(values.len())..];
    std::array::from_fn(|v| values.get(v).copied().unwrap_or(fill))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_whatever_the_width() {
        for width in [1, 31, 32, 33, 70] {
            let n_rows = 3;
            let value = |t: usize, v: usize| (t * 1000 + v) as f32;
            let panels: Vec<PanelRow> = (0..n_panels(width) * n_rows)
                .map(|i| std::array::from_fn(|v| value(i % n_rows, i / n_rows * PANEL + v)))
                .collect();
            let mut out = vec![-1.0; n_rows * width];
            to_rows(&panels, n_rows, width, &mut out);
            for (i, &got) in out.iter().enumerate() {
                assert_eq!(got, value(i / width, i % width));
            }
            let part = PanelRows { data: &panels, stride: n_rows, first: 1, n_rows: 2 };
            assert_eq!(part.panel(0)[1][0], value(2, 0));
            let last: Vec<usize> = (0..width).collect();
            let end = of_panel(&last, n_panels(width) - 1, usize::MAX);
            assert_eq!(end[0], (n_panels(width) - 1) * PANEL);
            assert_eq!(
                end.iter().filter(|&&v| v == usize::MAX).count(),
                n_panels(width) * PANEL - width
            );
        }
    }
}
