//! The haemodynamic response as the features see it.

use super::axes::{Entry, Frame, Labels, Mark, legend};
use super::scale::Scale;
use super::svg::{Anchor, Svg};
use super::{Drawn, Figure, Group, subject_class};

/// Un-lagged correlation at each shift, with the delays as a band.
pub fn curve(drawn: &Drawn<'_>) -> Option<Group> {
    let run = &drawn.results.run;
    let alignment = run.alignment.as_ref()?;
    let curves: Vec<(&String, Vec<(f64, f64)>)> = alignment
        .subjects
        .0
        .iter()
        .map(|(subject, curve)| {
            let r = curve.mean_r.iter().map(|r| r.unwrap_or(f64::NAN));
            (subject, curve.shifts.iter().map(|&s| s as f64).zip(r).collect())
        })
        .collect();
    let delays: Vec<f64> =
        run.settings.get("delays")?.as_array()?.iter().filter_map(|d| d.as_f64()).collect();
    let all = || curves.iter().flat_map(|(_, points)| points.iter().copied());
    let (first, last) = super::scale::extent(all().map(|p| p.0))?;
    let mut svg = Svg::default();
    let mut entries: Vec<Entry> = curves
        .iter()
        .enumerate()
        .map(|(i, (subject, _))| (subject_class(i).to_owned(), Mark::Line(i), (*subject).clone()))
        .collect();
    entries.push(("c0".into(), Mark::Area, "delays of the models".into()));
    let width = 720.0;
    let top = legend(&mut svg, &entries, (8.0, 0.0), width - 8.0) + 22.0;
    let height = 320.0 + top;
    let scales =
        (Scale::linear(first - 0.5, last + 0.5), Scale::over(all().map(|p| p.1).chain([0.0])));
    let labels = Labels { x: "BOLD after the features, in TRs", y: "mean un-lagged r" };
    let frame = Frame::draw(&mut svg, scales, labels, top, (width, height));
    let (bottom, upper) = frame.y.pixels();
    if let Some((lo, hi)) = super::scale::extent(delays) {
        let (a, b) = (frame.x.pos(lo - 0.5), frame.x.pos(hi + 0.5));
        svg.rect("band", (a, upper), (b - a, bottom - upper), 1.0, "delays of the models");
    }
    frame.mark_y(&mut svg, 0.0);
    for (i, (subject, points)) in curves.iter().enumerate() {
        svg.group(subject_class(i), |svg| {
            svg.polyline(Mark::line_class(i), points.iter().map(|p| frame.at(p.0, p.1)));
            for &(shift, r) in points.iter().filter(|p| p.1.is_finite()) {
                let tip = format!("{subject}, shift {shift}: r {r:.3}");
                svg.dot("f", frame.at(shift, r), 3.0, &tip);
            }
        });
    }
    let verdict = alignment.verdict.as_ref();
    if let Some(verdict) = verdict.filter(|v| v.stands_out) {
        let at = frame.x.pos(verdict.peak as f64);
        svg.line("ref", (at, bottom), (at, upper));
        let text = format!("peak at {} TRs", super::scale::signed(&verdict.peak.to_string()));
        svg.text("b", (at, upper - 7.0), Anchor::Middle, &text);
    }
    let figure = Figure::new(
        &["alignment"],
        &format!("{} features at one delay", alignment.space),
        "n = up to 256 voxels of each subject, 3 folds".to_owned(),
        (width, height),
        svg,
    );
    Group::new(
        "alignment",
        "Does the BOLD follow the words?",
        "The mean correlation of models with a single delay traces the haemodynamic response. Its \
         peak must lie inside the band; a peak outside it means that words and BOLD are paired \
         wrongly.",
        vec![figure],
    )
}
