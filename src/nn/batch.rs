//! What goes into an encoder: rows of word pieces, and the positions it has to guess.

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
