//! How an artifact was made, and what its verification found.

use std::fmt::Write;

use super::super::escape::{markdown, note};
use crate::artifact::{Artifact, Report};
use crate::plan::Fate;

/// Most files of a source that are listed.
const MOST_FILES: usize = 8;

/// The sections on the making and the verification.
pub(super) fn section(artifact: &Artifact) -> String {
    let mut text = format!(
        "\n## How it was made\n\nBy [clipway]({}) {} from {} ({}, {}).\n",
        env!("CARGO_PKG_REPOSITORY"),
        markdown(&artifact.tool_version),
        source(artifact),
        markdown(&artifact.source.format),
        markdown(&artifact.source.layout)
    );
    text.push_str("\n| source file | bytes | SHA-256 |\n| --- | --- | --- |\n");
    for (name, file) in artifact.source.files.iter().take(MOST_FILES) {
        let _ = writeln!(text, "| {} | {} | `{}` |", markdown(name), file.bytes, file.sha256);
    }
    let more = artifact.source.files.len().saturating_sub(MOST_FILES);
    if more > 0 {
        let _ = writeln!(text, "| and {more} more | | |");
    }
    text.push_str(&ledger(artifact));
    text.push_str(&quantization(artifact));
    text.push_str(
        "\n`clipway.json` has the sources of each tensor, the origin of each setting, and the hashes of every tensor and \
         file, which `verify` checks.\n",
    );
    text.push_str("\n## Verification\n\n");
    match &artifact.verification {
        Some(report) => text.push_str(&verification(report)),
        None => text.push_str("Not verified: this folder was written without running it.\n"),
    }
    text
}

/// The source: its repository if it is on the Hub, else the name of its file or folder.
fn source(artifact: &Artifact) -> String {
    match &artifact.source.hub {
        Some(hub) => {
            let repository = &hub.repository;
            format!(
                "[{}](https://huggingface.co/{repository}) at commit `{}`",
                markdown(repository),
                hub.commit
            )
        }
        None => markdown(&artifact.source.name),
    }
}

/// Where the tensors of the source went.
fn ledger(artifact: &Artifact) -> String {
    let ledger = &artifact.ledger;
    let mut text = format!(
        "\nOf {} tensors in the source ({} MB), {} were written ({} MB):\n\n",
        ledger.source_tensors,
        megabytes(ledger.source_bytes),
        ledger.written_tensors,
        megabytes(ledger.written_bytes)
    );
    for group in &ledger.groups {
        let fate = match group.fate {
            Fate::Written | Fate::Consumed => "written",
            Fate::Dropped => "left out",
            Fate::Made => "made",
        };
        let _ = writeln!(text, "- {} {fate}: {}", group.tensors, markdown(&group.rule));
    }
    text
}

/// What int8 or int4 costs.
fn quantization(artifact: &Artifact) -> String {
    let Some(quantization) = &artifact.quantization else { return String::new() };
    let mut text = format!("\n{} tensors are in {}", quantization.tensors, quantization.integers);
    match &quantization.inputs {
        Some(inputs) => {
            let _ = write!(text, ", measured on {}", markdown(inputs));
        }
        None => text.push_str("; what that costs was not measured"),
    }
    for (tower, loss) in [("image", &quantization.reported.image), ("text", &quantization.reported.text)] {
        if let Some(loss) = loss {
            let _ = write!(text, "; mean loss of cosine of the {tower} tower {:.2e}", loss.mean);
        }
    }
    text.push_str(".\n");
    text
}

/// The result of a verification, and its stages.
fn verification(report: &Report) -> String {
    let mut text = format!("{}.\n\n", note(&report.summary()));
    text.push_str(
        "| stage | result | values | largest difference | relative | smallest cosine | tolerance |\n",
    );
    text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for stage in &report.stages {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.2e} | {:.2e} | {} | {} ({:.0e}) |",
            markdown(&stage.name),
            if stage.passed { "passed" } else { "FAILED" },
            stage.compared,
            stage.worst,
            stage.worst_relative,
            stage.cosine.map(|cosine| format!("{cosine:.7}")).unwrap_or_default(),
            markdown(&stage.tolerance.name),
            stage.tolerance.relative,
        );
    }
    for (same, what) in [
        (report.same_best_text, "images have the same best text"),
        (report.same_best_image, "texts have the same best image"),
    ] {
        if let Some([same, all]) = same {
            let _ = write!(text, "\n{same} of {all} {what} as in the source.\n");
        }
    }
    text
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
