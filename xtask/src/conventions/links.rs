//! Relative links in documents lead to existing files and headings.

use std::path::Path;

use super::files::Document;

/// Lists links in documents that lead nowhere. `exists` looks up a path from the root.
pub fn links(documents: &[Document], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for document in documents {
        let folder = Path::new(&document.path).parent().unwrap_or(Path::new(""));
        for target in targets(&document.text).filter(|target| !target.contains("://")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() { document.path.clone() } else { joined(folder, path) };
            let of = documents.iter().find(|one| one.path == path);
            let has_heading =
                || of.is_some_and(|one| anchors(&one.text).iter().any(|anchor| anchor == heading));
            let leads = exists(Path::new(&path)) && (heading.is_empty() || has_heading());
            if !leads {
                broken.push(format!("{}: `{target}` leads nowhere", document.path));
            }
        }
    }
    broken
}

/// Returns the targets of `[text](target)` outside code blocks.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| {
        part.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
    })
}

/// Returns `path`, as seen from `folder`, relative to the root.
fn joined(folder: &Path, path: &str) -> String {
    let mut parts: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns the anchors of a document's headings, as GitHub generates them.
fn anchors(text: &str) -> Vec<String> {
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(anchor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let document = |path: &str, text: &str| Document { path: path.to_owned(), text: text.to_owned() };
        let check = |text: &str, broken: &[&str]| {
            let documents =
                [document("docs/a.md", text), document("B.md", "# First\n## What needs `../x`\n")];
            let exists = |path: &Path| ["docs/a.md", "B.md", "src"].iter().any(|one| Path::new(one) == path);
            let expected: Vec<String> =
                broken.iter().map(|one| format!("docs/a.md: `{one}` leads nowhere")).collect();
            assert_eq!(links(&documents, exists), expected, "{text}");
        };
        check("[b](../B.md), [s](../src), [w](https://example.org/x), [self](#one)\n## One\n", &[]);
        check("[b](../B.md#first) [c](../B.md#what-needs-x)", &[]);
        check("[b](B.md) [c](../B.md#second) [d](#none)", &["B.md", "../B.md#second", "#none"]);
        check("```\nx[0](nowhere)\n```\n", &[]);
    }
}
