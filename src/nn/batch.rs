//! What goes into an encoder: rows of word pieces, and the positions it has to guess.

use crate::error::{Error, Result};

/// Rows of word pieces of one length, row-major, padded at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of rows.
    pub rows: usize,
    /// Pieces of a row, padding included.
    pub length: usize,
    /// Word pieces, (rows, length).
    pub ids: Vec<u32>,
    /// Token types, (rows, length).
    pub types: Vec<u32>,
    /// Whether a piece is there; padding is not. (rows, length), the first of each row is true.
    pub attended: Vec<bool>,
}

impl Batch {
    /// Rows of pieces, each padded with `pad` to the longest.
    pub fn padded(rows: &[Vec<u32>], pad: u32) -> Self {
        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut batch = Self { rows: rows.len(), length, ..Self::default() };
        for row in rows {
            let missing = length - row.len();
            batch.ids.extend(row.iter().copied().chain(std::iter::repeat_n(pad, missing)));
            let there = std::iter::repeat_n(true, row.len());
            batch.attended.extend(there.chain(std::iter::repeat_n(false, missing)));
        }
        batch.types = vec![0; batch.ids.len()];
        batch
    }

    /// Asks that a model of so many pieces, in a row and in all, can read the rows. Behind a row's
    /// last piece nothing is attended, which is why a causal model needs no mask.
    /// # Errors
    /// `Error::Shape` with both sizes.
    pub fn check(&self, max_length: usize, vocab_size: usize) -> Result<()> {
        let n = self.rows * self.length;
        let fits = n > 0
            && [self.ids.len(), self.attended.len()] == [n; 2]
            && self.length <= max_length
            && self.types.iter().all(|&kind| kind == 0)
            && self.ids.iter().all(|&id| (id as usize) < vocab_size)
            && self.attended.chunks(self.length).all(|row| row.is_sorted_by(|a, b| *a >= *b));
        if fits {
            return Ok(());
        }
        let Self { rows, length, ids, .. } = self;
        let highest = ids.iter().max().copied().unwrap_or(0);
        Err(Error::Shape {
            what: "rows of pieces".into(),
            expected: format!(
                "at most {max_length} pieces a row, of {vocab_size} known ones, all of type 0, \
                 padded at the end"
            ),
            got: format!("{rows} rows of {length}, ids up to {highest}"),
            hint: "is it the tokenizer that belongs to this model?".into(),
        })
    }
}

/// The positions whose pieces are to be guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// Where: row · length + column.
    pub positions: Vec<u32>,
    /// Which piece stood there.
    pub labels: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_to_the_longest() {
        let batch = Batch::padded(&[vec![5, 6, 7], vec![8]], 9);
        assert_eq!((batch.rows, batch.length), (2, 3));
        assert_eq!(batch.ids, [5, 6, 7, 8, 9, 9]);
        assert_eq!(batch.attended, [true, true, true, true, false, false]);
        assert_eq!(batch.types, [0; 6]);
    }
}
