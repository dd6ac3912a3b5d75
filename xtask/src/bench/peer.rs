//! Runs the peers' Python scripts next to clipway.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

/// Runs a script in `benches/peers` and reads the JSON object on its last line.
///
/// # Errors
/// If Python cannot be started, the script fails, or it prints something else.
pub fn run<T: DeserializeOwned>(python: &Path, script: &str, arguments: &[&str]) -> Result<T, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/peers").join(script);
    let output = Command::new(python)
        .arg(path)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("`{}`: {error}", python.display()))?;
    if !output.status.success() {
        return Err(format!("{script}: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| format!("{script} printed `{line}`: {error}"))
}
