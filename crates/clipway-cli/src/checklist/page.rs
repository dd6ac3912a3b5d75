//! The checklist as a web page: one file, without anything to fetch.

use std::fmt::Write as _;

use clipway_model::artifact::Report;
use clipway_model::contract::Contract;

use crate::html::{self, escaped};

use super::{Checklist, Point, verification};

const STYLE: &str = "\
table { border-collapse: collapse; width: 100%; } th { text-align: left; color: var(--soft); font-weight: normal; }
td, th { border-bottom: 1px solid var(--line); padding: .4rem .6rem .4rem 0; vertical-align: top; }
td:last-child { overflow-wrap: anywhere; } td:nth-child(-n+2), th { white-space: nowrap; }
td.s { font-weight: 600; } .pass { color: var(--pass); } .warn { color: var(--warn); }
.fail { color: var(--fail); } code { font: .85rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.plot { overflow-x: auto; } svg { width: 100%; min-width: 32rem; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; } ol { padding-left: 1.5rem; } li { overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-end; }
figure { margin: 0; } figure img { display: block; image-rendering: pixelated; border: 1px solid var(--line); }
figcaption { color: var(--soft); font-size: .8rem; }
svg .grid { stroke: var(--line); } svg .image { fill: var(--pass); } svg .text { fill: var(--other); }
svg .bar { fill: var(--pass); } svg .over { fill: var(--fail); } svg .limit { stroke: var(--soft); stroke-dasharray: 3 3; }
@media (max-width: 40rem) { thead { display: none; } tr { display: block; border-bottom: 1px solid var(--line); padding: .4rem 0; }
  td { display: block; border: 0; padding: .1rem 0; white-space: normal !important; } }";

/// The page of a checklist, with the contract and the verification where they are known.
pub fn page(name: &str, list: &Checklist, contract: Option<&Contract>, report: Option<&Report>) -> String {
    let name = escaped(name);
    let mut page = html::begin(&format!("{name}: deployment checklist"), STYLE);
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<h1>{name}</h1>\n<p class=\"sum\">{}, by clipway {}</p>\n\
         <table>\n<thead><tr><th>result</th><th>point</th><th>found</th></tr></thead>\n<tbody>\n",
        escaped(&list.summary()),
        env!("CARGO_PKG_VERSION"),
    );
    for Point { name, status, found, mend } in &list.points {
        let class = status.name().to_ascii_lowercase();
        let mend =
            mend.as_ref().map(|mend| format!("<br><code>{}</code>", escaped(mend))).unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><td class=\"s {class}\">{class}</td><td>{}</td><td>{}{mend}</td></tr>",
            escaped(name),
            escaped(found)
        );
    }
    page.push_str("</tbody>\n</table>\n");
    if let Some(report) = report {
        page.push_str(&verification::section(report));
    }
    if let Some(contract) = contract {
        page.push_str("<h2>Contract</h2>\n<table>\n<thead><tr><th>field</th><th>value</th><th>origin</th></tr></thead>\n<tbody>\n");
        for row in contract.rows() {
            let cells = [row.field, &row.value, &row.from].map(|cell| format!("<td>{}</td>", escaped(cell)));
            let _ = writeln!(page, "<tr>{}</tr>", cells.concat());
        }
        page.push_str("</tbody>\n</table>\n");
    }
    page.push_str(html::END);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_markup() {
        let mut list = Checklist::default();
        list.points.push(Point::warn("license", "<script>alert(1)</script>", "a \"b\" & 'c'"));
        let page = page("<b>", &list, None, None);
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("a &quot;b&quot; &amp; &#39;c&#39;"));
    }
}
