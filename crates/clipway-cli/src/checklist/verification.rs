//! A verification as part of a page: its plots, and the pictures and texts that it compared.

use std::fmt::Write as _;

use clipway_formats::base64;
use clipway_model::artifact::{Report, Stage};
use clipway_run::verify::{Inputs, built_in_pictures};

use crate::html::escaped;

/// The smallest error that a plot tells from none.
const LEAST: f64 = 1e-9;

/// A verification with its plots, its pictures and its texts.
pub fn section(report: &Report) -> String {
    let losses = |name: &str| -> &[f64] {
        report.stages.iter().find(|stage| stage.name == name).map_or(&[], |stage| &stage.losses)
    };
    let (images, texts) = (losses("image features"), losses("text features"));
    let mut page = format!(
        "<h2>Verification</h2>\n<p>{}</p>\n<h3>Largest error of each stage</h3>\n{}",
        escaped(&report.summary()),
        errors(&report.stages)
    );
    if !images.is_empty() || !texts.is_empty() {
        page.push_str("<h3>1 − cosine of each input</h3>\n");
        page.push_str(&dots(&report.stages, [images, texts]));
    }
    if report.inputs.contains(Inputs::BUILT_IN_IMAGES) && !images.is_empty() {
        page.push_str("<h3>Images</h3>\n<div class=\"pictures\">\n");
        for ((name, file), loss) in built_in_pictures().iter().zip(images) {
            // Writing to a string cannot fail.
            let _ = writeln!(
                page,
                "<figure><img alt=\"{name}\" src=\"data:image/png;base64,{}\"><figcaption>{name}<br>{}</figcaption></figure>",
                base64(file),
                shown(*loss),
                name = escaped(name),
            );
        }
        page.push_str("</div>\n");
    }
    if report.inputs.contains(Inputs::BUILT_IN_TEXTS) && !texts.is_empty() {
        page.push_str("<h3>Texts</h3>\n<ol>\n");
        for (text, loss) in Inputs::built_in().texts.iter().zip(texts) {
            let _ = writeln!(page, "<li>{} <span class=\"sum\">{}</span></li>", escaped(text), shown(*loss));
        }
        page.push_str("</ol>\n");
    }
    page
}

/// Bars of the stages' largest errors on a logarithmic scale, each with its tolerance.
fn errors(stages: &[Stage]) -> String {
    const ROW: usize = 26;
    let height = stages.len() * ROW + 24;
    let mut plot = format!(
        "<div class=\"plot\"><svg viewBox=\"0 0 640 {height}\" role=\"img\" aria-label=\"Largest error of each stage, beside its tolerance\">\n"
    );
    for (place, stage) in stages.iter().enumerate() {
        let (top, error) = (place * ROW, 400.0 * at(stage.worst_relative));
        let limit = 150.0 + 400.0 * at(stage.tolerance.relative);
        let class = if stage.passed { "bar" } else { "over" };
        let _ = writeln!(
            plot,
            "<text x=\"0\" y=\"{}\">{}</text><rect class=\"{class}\" x=\"150\" y=\"{}\" width=\"{error:.1}\" height=\"14\"/>\
             <line class=\"limit\" x1=\"{limit:.1}\" x2=\"{limit:.1}\" y1=\"{top}\" y2=\"{}\"/>\
             <text x=\"560\" y=\"{}\">{}</text>",
            top + 17,
            escaped(&stage.name),
            top + 6,
            top + ROW,
            top + 17,
            shown(stage.worst_relative)
        );
    }
    let _ = writeln!(
        plot,
        "<text x=\"150\" y=\"{}\">largest error, of the largest value, from {LEAST:.0e} to 1; dashed: the tolerance</text>\n</svg></div>",
        height - 6
    );
    plot
}

/// A dot for each image, then for each text: how far its features are turned, on a logarithmic scale, with the tolerance.
fn dots(stages: &[Stage], losses: [&[f64]; 2]) -> String {
    const HEIGHT: f64 = 120.0;
    const WIDTH: f64 = 550.0;
    const LEFT: f64 = 70.0;
    let count: usize = losses.iter().map(|losses| losses.len()).sum();
    let step = WIDTH / count as f64;
    let y = |loss: f64| 10.0 + HEIGHT * (1.0 - at(loss));
    let mut plot = String::from(
        "<div class=\"plot\"><svg viewBox=\"0 0 640 170\" role=\"img\" aria-label=\"1 minus the cosine of each image and text, beside the tolerance\">\n",
    );
    for loss in [1.0, 1e-3, 1e-6, LEAST] {
        let _ = writeln!(
            plot,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"620\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"0\" y=\"{:.1}\">{}</text>",
            y(loss) + 4.0,
            if loss == LEAST { format!("≤ {LEAST:.0e}") } else { format!("{loss:.0e}") },
            y = y(loss),
        );
    }
    let features = ["image features", "text features"];
    let limits = stages.iter().filter(|stage| features.contains(&stage.name.as_str()));
    if let Some(limit) = limits.map(|stage| 1.0 - stage.tolerance.cosine).reduce(f64::max) {
        let _ = writeln!(
            plot,
            "<line class=\"limit\" x1=\"{LEFT}\" x2=\"620\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            y = y(limit)
        );
    }
    let mut place = 0;
    for (kind, losses) in ["image", "text"].into_iter().zip(losses) {
        for (number, loss) in losses.iter().enumerate() {
            let _ = writeln!(
                plot,
                "<circle class=\"{kind}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{kind} {}: {}</title></circle>",
                LEFT + step * (place as f64 + 0.5),
                y(*loss),
                number + 1,
                shown(*loss)
            );
            place += 1;
        }
    }
    let split = LEFT + step * losses[0].len() as f64;
    for (name, count, x) in [("images", losses[0].len(), LEFT), ("texts", losses[1].len(), split)] {
        if count > 0 {
            let _ = writeln!(plot, "<text x=\"{x:.1}\" y=\"160\">{count} {name}</text>");
        }
    }
    plot.push_str(
        "<text x=\"620\" y=\"160\" text-anchor=\"end\">dashed: the tolerance</text>\n</svg></div>\n",
    );
    plot
}

/// Where an error stands on the scale, from 0 to 1.
fn at(error: f64) -> f64 {
    (error.clamp(LEAST, 1.0) / LEAST).log10() / -LEAST.log10()
}

/// An error in words.
fn shown(error: f64) -> String {
    if error <= 0.0 { "none".to_owned() } else { format!("{error:.1e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_logarithmic() {
        assert_eq!((at(0.0), at(1.0), at(f64::INFINITY)), (0.0, 1.0, 1.0));
        assert!((at(LEAST.sqrt()) - 0.5).abs() < 1e-9);
        assert_eq!(
            (shown(0.0), shown(-1e-17), shown(1.25e-7)),
            ("none".into(), "none".into(), "1.2e-7".into())
        );
    }
}
