//! Results as a web page with thumbnails: one file, without anything to fetch.

use std::io::{self, Write};
use std::path::Path;

use clipway_formats::{base64, shown, shown_path};
use clipway_run::image::DecodeLimits;

use super::results::{Answers, Found};
use super::thumbnail::small;
use crate::html::{self, escaped};

/// Longest side of a thumbnail, in pixels.
const SIDE: usize = 256;

const STYLE: &str = "\
body { max-width: 90rem; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr)); gap: 1rem; padding: 0; list-style: none; }
figure { margin: 0; } .image { display: flex; align-items: center; justify-content: center; aspect-ratio: 1;
  border: 1px solid var(--line); border-radius: .3rem; color: var(--soft); font-size: .8rem; text-align: center; }
img { max-width: 100%; max-height: 100%; width: auto; height: auto; } .image span { padding: 1rem; overflow-wrap: anywhere; }
figcaption { margin-top: .3rem; font-size: .85rem; } figcaption span { color: var(--soft); }
code { display: block; font: .8rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }";

/// Writes the page, image by image.
///
/// # Errors
/// A write that fails.
pub fn write_page(answers: &Answers, limits: &DecodeLimits, out: &mut impl Write) -> io::Result<()> {
    let title = match answers.queries.as_slice() {
        [answer] => escaped(&shown(&answer.query)),
        queries => format!("{} queries", queries.len()),
    };
    out.write_all(html::begin(&format!("{title}: clipway search"), STYLE).as_bytes())?;
    writeln!(out, "<h1>{title}</h1>\n<p class=\"sum\">{}</p>", escaped(&answers.said()))?;
    for answer in &answers.queries {
        if answers.queries.len() > 1 {
            writeln!(out, "<h2>{}</h2>", escaped(&shown(&answer.query)))?;
        }
        if answer.results.is_empty() {
            writeln!(out, "<p>no results</p>")?;
            continue;
        }
        writeln!(out, "<ol>")?;
        for found in &answer.results {
            write_found(found, limits, out)?;
        }
        writeln!(out, "</ol>")?;
    }
    out.write_all(html::END.as_bytes())
}

fn write_found(found: &Found, limits: &DecodeLimits, out: &mut impl Write) -> io::Result<()> {
    let name = found.path.file_name().map(|name| shown_path(Path::new(name))).unwrap_or_default();
    let image = match small(&found.path, limits, SIDE).map(|small| small.png()) {
        Ok(file) => format!(
            "<img src=\"data:image/png;base64,{}\" alt=\"{}\" loading=\"lazy\">",
            base64(&file),
            escaped(&name)
        ),
        Err(reason) => format!("<span>{}</span>", escaped(&reason)),
    };
    writeln!(
        out,
        "<li><figure><div class=\"image\">{image}</div><figcaption>{}. score {:.2} <span>cosine {:.4}</span>\
         <code>{}</code></figcaption></figure></li>",
        found.rank,
        found.hit.score,
        found.hit.cosine,
        escaped(&shown_path(&found.path))
    )
}
