//! The contract of a source, and its table for people: field, value, origin.

use clipway_model::contract::Contract;
use clipway_model::plan::Towers;
use clipway_model::source::Source;
use clipway_run::load::LoadedTokenizer;

use crate::failure::Failure;
use crate::source;

/// The contract of a source, with the tokenizer that its folder contains.
pub fn of(resolved: &mut Source) -> Result<Contract, Failure> {
    if resolved.tower() != Towers::Image {
        let folder = resolved.folder().to_owned();
        LoadedTokenizer::read_into(resolved, &folder).map_err(|error| source::load_failure(&error))?;
    }
    resolved.whole_contract().map_err(|error| source::source_failure(&error))
}

/// The table, under a line that explains it.
pub fn table(contract: &Contract) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["contract", "value", "origin"]);
    for row in contract.rows() {
        table.add_row([row.field.to_owned(), row.value, row.from]);
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
