//! What an export says: what would be done, and what was done.

use clipway_formats::shown_path;
use clipway_model::export::{Export as Prepared, ExportReport};
use clipway_model::plan::Ledger;
use serde_json::{Value, json};

use crate::contract::table;
use crate::failure::Failure;
use crate::source;
use crate::text::{bytes, counted};

/// Reports what an export would do, once per format.
pub fn dry_run(prepared: &Prepared<'_>, formats: usize) -> Result<(Value, String), Failure> {
    let (plan, source) = (prepared.plan(), prepared.source());
    let (before, after) = (source.checkpoint().file_bytes(), plan.bytes() * formats as u64);
    let contract = source.whole_contract().map_err(|error| source::source_failure(&error))?;
    let document = json!({
        "layout": source.layout().name,
        "target": prepared.spelling().layout,
        "plan": plan,
        "ledger": prepared.ledger(),
        "contract": contract,
        "notes": prepared.notes(),
        "bytes_before": before,
        "bytes_after": after,
    });
    let (layout, target) = (source.layout().title, prepared.spelling().title);
    let mut text = format!("layout: {layout}, to {target}\n\n{plan}\n");
    text.push_str(&ledger(prepared.ledger()));
    text.push_str(&format!("size: {} before, {} after\n", bytes(before), bytes(after)));
    for note in prepared.notes() {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push_str(&table(&contract));
    Ok((document, text))
}

/// An export as text for people.
pub fn text_of(report: &ExportReport) -> String {
    let mut text = ledger(&report.ledger);
    let (before, after) = (bytes(report.source_bytes), bytes(report.folder_bytes));
    text.push_str(&format!("size: {before} before, {after} after\n"));
    for note in &report.artifact.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push_str(&table(&report.artifact.contract));
    text.push_str(&match &report.artifact.verification {
        Some(verification) => format!("{}\n", verification.summary()),
        None => "NOT verified: nothing was run\n".to_owned(),
    });
    text.push_str(&format!("wrote {}\n", shown_path(&report.folder)));
    text
}

/// The ledger as text for people.
fn ledger(ledger: &Ledger) -> String {
    let (source, written) =
        (counted(ledger.source_tensors, "tensor"), counted(ledger.written_tensors, "tensor"));
    let mut text = format!(
        "ledger: {source}, {} in; {written}, {} out\n",
        bytes(ledger.source_bytes),
        bytes(ledger.written_bytes)
    );
    for group in &ledger.groups {
        let fate = format!("{:?}", group.fate).to_lowercase();
        let tensors = counted(group.tensors, "tensor");
        text.push_str(&format!("  {fate:<8} {tensors}, {}: {}\n", bytes(group.bytes), group.rule));
    }
    text
}
