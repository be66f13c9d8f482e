//! Attention of models that are only read, on the CPU: a block of queries after the other, against
//! the keys that it sees.
//!
//! One task per row of the batch and head of keys: keys and values are turned and packed once for
//! all heads of queries that share them [Ainslie et al. 2023, arXiv:2305.13245].

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape};
use pulp::Arch;
use rayon::prelude::*;

use super::attention::fold;
use super::host::slice;
use super::math::exp;
use super::norm::rms_scale;
use super::products::{Panels, Strided, rows_times, rows_times_within};
use crate::product::amx::SIDE;
use crate::product::panels::PANEL;
use crate::product::vectorized::vectorized;

/// Queries of a block: a multiple of 12 and of 32, for both forms of left factors.
const QUERIES: usize = 96;

/// How tokens see each other.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub kv_heads: usize,
    /// Values of a head.
    pub size: usize,
    /// Tokens of a row of the batch.
    pub length: usize,
    /// Where a token also sees those behind it: how many tokens there are in each row of the batch.
    /// None: it sees itself and those before it.
    pub lengths: Option<&'a [usize]>,
    /// What stands so many tokens away, or farther, is not seen; none: nothing is too far.
    pub window: Option<usize>,
    /// Factor of the scores.
    pub scale: f32,
    /// Rotary positions.
    pub turns: Option<&'a Turns>,
    /// RMSNorms of queries and keys.
    pub norms: Option<HeadNorms<'a>>,
    /// What scores get for distances.
    pub distances: Option<Distances<'a>>,
}

/// What scores get for how far a key stands from its query; needs as many heads of keys as of
/// queries.
#[derive(Debug, Clone, Copy)]
pub struct Distances<'a> {
    /// Which row of the tables stands for the distance key − query, from 1 − length on:
    /// (2 · length − 1).
    pub rows: &'a [u32],
    /// Heads.
    pub heads: usize,
    /// Added to scaled scores, (rows, heads).
    pub bias: Option<&'a [f32]>,
    /// A key and a query for each row, (rows, heads · size) each; a token's query times the key, and
    /// its key times the query, are added to unscaled scores.
    pub vectors: Option<[&'a [f32]; 2]>,
}

/// Weights of the RMSNorms of each query and each key.
#[derive(Debug, Clone, Copy)]
pub struct HeadNorms<'a> {
    /// (size).
    pub query: &'a [f32],
    /// (size).
    pub key: &'a [f32],
    /// Added to the mean of squares.
    pub eps: f32,
}

/// cos and sin of position · frequency, (length, frequencies).
///
/// With n frequencies, values i and i + n of a head are turned by the i-th angle
/// [Su et al. 2021, arXiv:2104.09864, eq. 34, in the order of GPT-NeoX].
#[derive(Debug, Clone, PartialEq)]
pub struct Turns {
    /// Cosines.
    pub cos: Vec<f32>,
    /// Sines.
    pub sin: Vec<f32>,
    /// Frequencies.
    pub n: usize,
}

impl Turns {
    /// Of positions 0 to `length`. Angles are products in f32, as transformers has them.
    pub fn new(frequencies: &[f32], length: usize) -> Self {
        let angle = |t: usize| frequencies.iter().map(move |&f| f64::from(t as f32 * f));
        let angles: Vec<f64> = (0..length).flat_map(angle).collect();
        Self {
            cos: angles.iter().map(|angle| angle.cos() as f32).collect(),
            sin: angles.iter().map(|angle| angle.sin() as f32).collect(),
            n: frequencies.len(),
        }
    }
}

/// What one thread works with.
#[derive(Default)]
struct Scratch {
    turned: Vec<f32>,
    keys: Panels,
    values: Panels,
    scores: Vec<f32>,
    distances: DistanceScores,
}

/// What a head's scores get for distances.
#[derive(Default)]
struct DistanceScores {
    /// (2 · length − 1).
    bias: Vec<f32>,
    keys: Panels,
    /// Products of a block of queries with `keys`, (queries, rows).
    of_queries: Vec<f32>,
    /// Products of all keys with a query per row, (length, rows).
    of_keys: Vec<f32>,
}

/// What the tokens of one row of the batch see.
#[derive(Clone, Copy)]
pub struct Seen {
    /// Tokens of the row where those behind are seen.
    length: Option<usize>,
    window: usize,
}

impl Seen {
    /// The keys that a query sees.
    #[inline(always)]
    pub fn keys(self, query: usize) -> Range<usize> {
        let end = self.length.map_or(query + 1, |n| n.min(query.saturating_add(self.window)));
        (query + 1).saturating_sub(self.window).min(end)..end
    }
}

impl Sight<'_> {
    /// Numbers of a token's queries, keys and values.
    pub fn stride(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.size
    }

    /// What the tokens of a row see.
    pub fn seen(&self, row: usize) -> Seen {
        let length = self.lengths.map(|lengths| lengths[row]);
        Seen { length, window: self.window.unwrap_or(usize::MAX) }
    }

    /// Mixed values of the queries that share key head `g` of one row: (length, group · size), zeros
    /// behind the row's last token.
    fn head(
        &self,
        arch: Arch,
        qkv: &[f32],
        (row, g): (usize, usize),
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let Self { heads, kv_heads, size, length, .. } = *self;
        let (stride, group) = (self.stride(), heads / kv_heads);
        let Scratch { turned, keys, values, scores, distances: added } = scratch;
        turned.resize(length * size, 0.0);
        let at =
            |head: usize| Strided { data: &qkv[head * size..], stride, rows: length, cols: size };
        let eps = self.norms.map_or(0.0, |norms| norms.eps);
        let norm = self.norms.map(|norms| norms.key);
        turn(arch, at(heads + g), self.turns, (norm, eps), 1.0, turned);
        keys.fill_transposed(arch, Strided::whole(turned, size));
        values.fill(arch, at(heads + kv_heads + g));
        if let Some(distances) = &self.distances {
            distances.prepare(arch, g, (turned, size, self.scale), added);
        }
        let norm = self.norms.map(|norms| norms.query);
        let seen = self.seen(row);
        let n_queries = seen.length.unwrap_or(length);
        for h in 0..group {
            turn(arch, at(g * group + h), self.turns, (norm, eps), self.scale, turned);
            for start in (0..n_queries).step_by(QUERIES) {
                let end = (start + QUERIES).min(n_queries);
                let first = seen.keys(start).start / PANEL.max(SIDE) * PANEL.max(SIDE);
                let last = seen.keys(end - 1).end;
                let n_keys = last - first;
                scores.resize(QUERIES * length, 0.0);
                let queries = Strided::whole(&turned[start * size..end * size], size);
                let sums = (&mut scores[..], n_keys);
                rows_times_within(arch, queries, keys, (0..size, first..last), sums, false);
                let scores = &mut scores[..(end - start) * n_keys];
                if let Some(distances) = &self.distances {
                    distances.add(arch, (start, first..last), queries, added, scores);
                }
                softmax(arch, seen, start, first..last, scores);
                let weights = Strided::whole(scores, n_keys);
                let out = (&mut out[(start * group + h) * size..], group * size);
                rows_times_within(arch, weights, values, (first..last, 0..size), out, false);
            }
        }
    }
}

impl CustomOp1 for Sight<'_> {
    fn name(&self) -> &'static str {
        "read-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, stride) = layout.shape().dims2()?;
        let Self { heads, kv_heads, size, length, .. } = *self;
        let knows_places = self
            .turns
            .is_none_or(|turns| turns.cos.len() >= length * turns.n && 2 * turns.n <= size);
        let fits = self.lengths.is_none_or(|lengths| {
            lengths.len() * length == n && lengths.iter().all(|&row| row <= length)
        });
        let knows_distances = self
            .distances
            .is_none_or(|distances| distances.rows.len() + 1 == 2 * length && kv_heads == heads);
        let knows_places = knows_places && knows_distances && fits;
        if stride != self.stride() || !n.is_multiple_of(length) || !knows_places {
            candle_core::bail!("expected rows of {length} tokens, got {n} tokens of {stride}");
        }
        let qkv = slice(qkv, layout)?;
        let (arch, group) = (Arch::new(), heads / kv_heads * size);
        let mut mixed = vec![0.0; n * heads * size];
        let tasks = mixed.par_chunks_mut(length * group).enumerate();
        tasks.for_each_init(Scratch::default, |scratch, (task, mixed)| {
            let qkv = &qkv[task / kv_heads * length * stride..][..length * stride];
            self.head(arch, qkv, (task / kv_heads, task % kv_heads), scratch, mixed);
        });
        if kv_heads == 1 {
            return Ok((CpuStorage::F32(mixed), (n, heads * size).into()));
        }
        // (row, key head, token) to (row, token, key head).
        let mut out = vec![0.0; n * heads * size];
        out.par_chunks_mut(heads * size).enumerate().for_each(|(token, out)| {
            let (row, t) = (token / length, token % length);
            for (g, out) in out.chunks_exact_mut(group).enumerate() {
                let from = ((row * kv_heads + g) * length + t) * group;
                out.copy_from_slice(&mixed[from..from + group]);
            }
        });
        Ok((CpuStorage::F32(out), (n, heads * size).into()))
    }
}

vectorized! {
    /// Queries or keys of one head: normed, turned and scaled, (length, size).
    fn turn<'a>(
        x: Strided<'a>,
        turns: Option<&'a Turns>,
        norm: (Option<&'a [f32]>, f32),
        scale: f32,
        out: &'a mut [f32],
    ) {
        let size = x.cols;
        for (t, out) in out.chunks_exact_mut(size).enumerate() {
            out.copy_from_slice(x.row(t));
            if let (Some(weight), eps) = norm {
                let scale = rms_scale(out, eps);
                for (x, &weight) in out.iter_mut().zip(weight) {
                    *x = *x * scale * weight;
                }
            }
            if let Some(turns) = turns {
                let n = turns.n;
                let (cos, sin) = (&turns.cos[t * n..][..n], &turns.sin[t * n..][..n]);
                let (low, high) = out[..2 * n].split_at_mut(n);
                for (((low, high), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                    (*low, *high) = (*low * cos - *high * sin, *high * cos + *low * sin);
                }
            }
            for x in out.iter_mut() {
                *x *= scale;
            }
        }
    }
}

impl Distances<'_> {
    /// One head's part of a table: as many rows as the table has.
    fn of_head<'a>(&self, table: &'a [f32], head: usize, size: usize) -> Strided<'a> {
        let stride = self.heads * size;
        Strided { data: &table[head * size..], stride, rows: table.len() / stride, cols: size }
    }

    /// What all queries of a head share. `keys`: (length, size), not scaled.
    fn prepare(
        &self,
        arch: Arch,
        head: usize,
        (keys, size, scale): (&[f32], usize, f32),
        out: &mut DistanceScores,
    ) {
        out.bias.clear();
        if let Some(bias) = self.bias {
            out.bias.extend(self.rows.iter().map(|&row| bias[row as usize * self.heads + head]));
        }
        if let Some([own_keys, queries]) = self.vectors {
            let queries = self.of_head(queries, head, size);
            out.keys.fill_transposed(arch, queries);
            out.of_keys.resize(keys.len() / size * queries.rows, 0.0);
            let products = (&mut out.of_keys[..], queries.rows);
            rows_times(arch, Strided::whole(keys, size), &out.keys, products, false);
            out.of_keys.iter_mut().for_each(|x| *x *= scale);
            out.keys.fill_transposed(arch, self.of_head(own_keys, head, size));
        }
    }

    /// Adds to the scores of scaled queries from `start` on, (queries, keys).
    fn add(
        &self,
        arch: Arch,
        (start, keys): (usize, Range<usize>),
        queries: Strided<'_>,
        added: &mut DistanceScores,
        scores: &mut [f32],
    ) {
        let DistanceScores { bias, keys: panels, of_queries, of_keys } = added;
        let n_rows = panels.shape().1;
        if self.vectors.is_some() {
            of_queries.resize(QUERIES * n_rows, 0.0);
            rows_times(arch, queries, panels, (&mut of_queries[..], n_rows), false);
        }
        for (i, scores) in scores.chunks_exact_mut(keys.len()).enumerate() {
            let from = keys.start + self.rows.len() / 2 - (start + i);
            if self.bias.is_some() {
                add(arch, &bias[from..from + keys.len()], scores);
            }
            let rows = &self.rows[from..from + keys.len()];
            if self.vectors.is_some() {
                let of_query = &of_queries[i * n_rows..(i + 1) * n_rows];
                let of_keys = of_keys.chunks_exact(n_rows).skip(keys.start);
                for ((score, &row), of_key) in scores.iter_mut().zip(rows).zip(of_keys) {
                    *score += of_query[row as usize] + of_key[row as usize];
                }
            }
        }
    }
}

vectorized! {
    fn add<'a>(x: &'a [f32], out: &'a mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out += x;
        }
    }
}

vectorized! {
    /// Scores to weights: of queries from `start` on, each with these keys.
    fn softmax<'a>(seen: Seen, start: usize, keys: Range<usize>, scores: &'a mut [f32]) {
        for (i, row) in scores.chunks_exact_mut(keys.len()).enumerate() {
            let own = seen.keys(start + i);
            let (first, end) = (own.start - keys.start, own.end - keys.start);
            row[..first].fill(0.0);
            row[end..].fill(0.0);
            let row = &mut row[first..end];
            let largest =
                fold(row, f32::NEG_INFINITY, |largest, x| if x > largest { x } else { largest });
            for score in row.iter_mut() {
                *score = exp(*score - largest);
            }
            let inverse = 1.0 / fold(row, 0.0, |sum, x| sum + x);
            for weight in row.iter_mut() {
                *weight *= inverse;
            }
        }
    }
}
