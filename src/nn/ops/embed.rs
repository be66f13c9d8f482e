//! Sum of the embeddings of piece, position and token type, on the CPU.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::host::{slice, values};

/// Rows of one task.
const ROWS: usize = 256;

/// Row i is words[ids[i]] + positions[i mod length] + types[types[i]].
pub struct Embed {
    /// Pieces, (tokens).
    pub ids: Vec<u32>,
    /// Token types, (tokens).
    pub types: Vec<u32>,
    /// Tokens of a row.
    pub length: usize,
}

impl CustomOp3 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(
        &self,
        words: &CpuStorage,
        words_layout: &Layout,
        positions: &CpuStorage,
        positions_layout: &Layout,
        types: &CpuStorage,
        types_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = words_layout.shape().dims2()?;
        let words = slice(words, words_layout)?;
        let positions = slice(positions, positions_layout)?;
        let types = slice(types, types_layout)?;
        let row = |table, i: usize| row_of(table, width, i);
        let mut out = vec![0.0; self.ids.len() * width];
        out.par_chunks_mut(ROWS * width).enumerate().for_each(|(block, out)| {
            for (i, out) in out.chunks_exact_mut(width).enumerate() {
                let i = block * ROWS + i;
                let word = row(words, self.ids[i] as usize);
                let position = row(positions, i % self.length);
                let kind = row(types, self.types[i] as usize);
                for (((out, a), b), c) in out.iter_mut().zip(word).zip(position).zip(kind) {
                    *out = a + b + c;
                }
            }
        });
        Ok((CpuStorage::F32(out), (self.ids.len(), width).into()))
    }

    fn bwd(
        &self,
        words: &Tensor,
        positions: &Tensor,
        types: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (_, width) = words.dims2()?;
        let g = values(&gradient)?;
        let scatter = |table: &Tensor, of: &dyn Fn(usize) -> usize| -> Result<Option<Tensor>> {
            let mut out = vec![0.0; table.elem_count()];
            for (i, g) in g.chunks_exact(width).enumerate() {
                let out = &mut out[of(i) * width..][..width];
                for (out, g) in out.iter_mut().zip(g) {
                    *out += g;
                }
            }
            Ok(Some(Tensor::from_vec(out, table.shape(), table.device())?))
        };
        Ok((
            scatter(words, &|i| self.ids[i] as usize)?,
            scatter(positions, &|i| i % self.length)?,
            scatter(types, &|i| self.types[i] as usize)?,
        ))
    }
}

fn row_of(table: &[f32], width: usize, i: usize) -> &[f32] {
    &table[i * width..][..width]
}
