//! The contract of a source as a table for people: field, value, origin.

use clipway_model::contract::Contract;

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
