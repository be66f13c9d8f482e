//! The points of a sweep.

use serde::Serialize;

use crate::nn::TrainSettings;

/// Values of each hyper-parameter; every combination is a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Attention heads.
    pub heads: Vec<usize>,
    /// Blocks.
    pub layers: Vec<usize>,
    /// Width of a hidden state.
    pub hidden: Vec<usize>,
    /// Width inside the feed-forward.
    pub intermediate: Vec<usize>,
    /// Share of pieces to be guessed in training.
    pub p_mlm: Vec<f64>,
}

impl Grid {
    /// The one point of these settings.
    pub fn of(base: &TrainSettings) -> Self {
        Self {
            heads: vec![base.heads],
            layers: vec![base.layers],
            hidden: vec![base.hidden],
            intermediate: vec![base.intermediate],
            p_mlm: vec![base.p_mlm],
        }
    }

    /// Heads {2, 4, 8} × layers {2, 4, 6}.
    pub fn heads_layers(base: &TrainSettings) -> Self {
        Self { heads: vec![2, 4, 8], layers: vec![2, 4, 6], ..Self::of(base) }
    }

    /// Hidden {64, 128, 256, 512} × intermediate {256, 512, 1024, 2048} × p_mlm {.10, .15, .20}.
    pub fn full(base: &TrainSettings) -> Self {
        Self {
            hidden: vec![64, 128, 256, 512],
            intermediate: vec![256, 512, 1024, 2048],
            p_mlm: vec![0.10, 0.15, 0.20],
            ..Self::of(base)
        }
    }

    /// Every combination, the last value changing first.
    pub fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for &heads in &self.heads {
            for &layers in &self.layers {
                for &hidden in &self.hidden {
                    for &intermediate in &self.intermediate {
                        for &p_mlm in &self.p_mlm {
                            points.push(Point { heads, layers, hidden, intermediate, p_mlm });
                        }
                    }
                }
            }
        }
        points
    }
}

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Attention heads.
    pub heads: usize,
    /// Blocks.
    pub layers: usize,
    /// Width of a hidden state.
    pub hidden: usize,
    /// Width inside the feed-forward.
    pub intermediate: usize,
    /// Share of pieces to be guessed in training.
    pub p_mlm: f64,
}

impl Point {
    /// Its folder.
    pub fn name(&self) -> String {
        let Self { heads, layers, hidden, intermediate, p_mlm } = self;
        format!("heads{heads}-layers{layers}-hidden{hidden}-intermediate{intermediate}-mlm{p_mlm}")
    }

    /// The settings of its training.
    pub fn settings(&self, base: &TrainSettings) -> TrainSettings {
        let Self { heads, layers, hidden, intermediate, p_mlm } = *self;
        TrainSettings { heads, layers, hidden, intermediate, p_mlm, ..base.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_have_nine_and_forty_eight_points_with_names_of_their_own() {
        let base = TrainSettings::default();
        for (grid, n) in [(Grid::heads_layers(&base), 9), (Grid::full(&base), 48)] {
            let points = grid.points();
            let names: std::collections::HashSet<String> = points.iter().map(Point::name).collect();
            assert_eq!((points.len(), names.len()), (n, n));
            for point in points {
                point.settings(&base).check(&str::to_owned).unwrap();
            }
        }
        let point = Grid::of(&base).points()[0];
        assert_eq!(point.name(), "heads2-layers2-hidden128-intermediate256-mlm0.15");
        assert_eq!(point.settings(&base), base);
    }
}
