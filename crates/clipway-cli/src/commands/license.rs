//! Licenses on the command line.

use clipway_model::contract::Contract;

use crate::ui::Ui;

/// Says what a license does not permit.
pub fn warn(contract: &Contract, ui: &Ui) {
    if let Some((license, restriction)) = contract.license_restriction() {
        ui.warn(&format!("the license `{license}` {restriction}"));
    }
}

/// Parses the name of a license.
pub fn parse(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected a name such as mit".to_owned()),
        text if text.eq_ignore_ascii_case("other") => {
            Err("name the license, such as `my-license`, and pass `--license-link`".to_owned())
        }
        text => Ok(text.to_owned()),
    }
}
