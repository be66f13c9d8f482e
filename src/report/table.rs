//! Tables for a terminal.

use super::ScoreRow;

/// Columns of text, padded to the widest cell: the first `n_left` to the left, numbers to the
/// right.
pub fn align(rows: &[Vec<String>], n_left: usize) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter().filter_map(|row| row.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (c, cell) in row.iter().enumerate() {
            if c > 0 {
                line += "  ";
            }
            let width = widths[c];
            line += &if c < n_left { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The study's results, one line a model, best space first within subject and variant.
pub fn summary(rows: &[ScoreRow]) -> String {
    let header = ["subject", "space", "delays", "voxels", "mean r", "median", "top 1 %", "top 5 %"];
    let mut lines: Vec<Vec<String>> = vec![header.map(str::to_owned).to_vec()];
    if rows.iter().any(|row| row.inner.is_some()) {
        lines[0].push("inner r".into());
    }
    let mut order: Vec<&ScoreRow> = rows.iter().collect();
    order.sort_by(|a, b| {
        let key = |row: &ScoreRow| (row.subject.clone(), !row.lagged);
        key(a).cmp(&key(b)).then(b.scores.mean.total_cmp(&a.scores.mean))
    });
    for row in order {
        let s = &row.scores;
        let number = |x: f64| if x.is_nan() { "-".to_owned() } else { format!("{x:.4}") };
        lines.push(vec![
            row.subject.clone(),
            row.space.clone(),
            if row.lagged { "lagged" } else { "plain" }.to_owned(),
            s.n_voxels_used.to_string(),
            number(s.mean),
            number(s.median),
            number(s.top1),
            number(s.top5),
        ]);
        if let (Some(inner), Some(line)) = (row.inner, lines.last_mut()) {
            line.push(number(inner.inner_mean));
        }
    }
    align(&lines, 3)
}
