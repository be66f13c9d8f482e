//! Tables as text: summary.csv, stories.csv, and any other.

use super::ScoreRow;

const SCORES: &str = "n_voxels,n_voxels_used,mean,median,top1,top5,top1_mean,top5_mean";

/// The text of summary.csv: one line a model.
pub fn summary(rows: &[ScoreRow]) -> String {
    let mut text = format!("subject,space,lagged,{SCORES}\n");
    for row in rows {
        text += &format!("{},{},{},{}\n", row.subject, row.space, row.lagged, scores(row));
    }
    text
}

/// The text of stories.csv: one line a model and test story.
pub fn stories(rows: &[ScoreRow]) -> String {
    let mut text = format!("subject,space,lagged,story,{SCORES}\n");
    for row in rows {
        let story = quoted(row.story.as_deref().unwrap_or_default());
        text += &format!("{},{},{},{story},{}\n", row.subject, row.space, row.lagged, scores(row));
    }
    text
}

/// The text of any table: a header, then one line a row.
pub fn table(header: &str, rows: &[Vec<String>]) -> String {
    let mut text = format!("{header}\n");
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        text += &cells.join(",");
        text.push('\n');
    }
    text
}

fn scores(row: &ScoreRow) -> String {
    let s = &row.scores;
    let numbers =
        [s.mean, s.median, s.top1, s.top5, s.top1_mean, s.top5_mean].map(|x| x.to_string());
    format!("{},{},{}", s.n_voxels, s.n_voxels_used, numbers.join(","))
}

/// Story names come from users: quoted where a comma or quote would break the line.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::Summary;

    #[test]
    fn every_cell_of_a_table_is_one_column() {
        let rows = [vec!["x".to_owned(), "a,b".to_owned(), "NaN".to_owned()]];
        assert_eq!(table("one,two,three", &rows), "one,two,three\nx,\"a,b\",NaN\n");
    }

    #[test]
    fn a_story_with_a_comma_stays_one_column() {
        let row = ScoreRow {
            subject: "s1".into(),
            space: "bow".into(),
            lagged: true,
            story: Some("a, \"b\"".into()),
            scores: Summary::of(&[0.5]),
        };
        let text = stories(&[row]);
        assert_eq!(
            text.lines().nth(1).unwrap(),
            "s1,bow,true,\"a, \"\"b\"\"\",1,1,0.5,0.5,0.5,0.5,0.5,0.5"
        );
        assert!(
            summary(&[]).starts_with("subject,space,lagged,n_voxels,n_voxels_used,mean,median")
        );
    }
}
