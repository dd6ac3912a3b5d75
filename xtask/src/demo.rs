//! The newcomer's first command: the demo model from a training checkpoint to a verified artifact, in use.

use std::path::{Path, PathBuf};
use std::process::Command;

const EXAMPLE: &str = "examples/emoji-clip";

/// Builds clipway, then exports, verifies and classifies, and shows each command before its output.
pub fn run() -> Result<bool, String> {
    let root = root();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(&root)
        .args(["build", "--release", "--quiet", "--package", "clipway-cli"])
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !built.success() {
        return Err("clipway does not build".to_owned());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let binary = target.join("release").join(format!("clipway{}", std::env::consts::EXE_SUFFIX));
    let commands = [
        format!("inspect {EXAMPLE}/emoji-clip.pt"),
        format!(
            "export {EXAMPLE}/emoji-clip.pt --model {EXAMPLE}/emoji-clip.json --out out/emoji-clip --force"
        ),
        format!("verify out/emoji-clip --against {EXAMPLE}/emoji-clip.pt"),
        format!(
            "classify out/emoji-clip {EXAMPLE}/pictures/lion.png {EXAMPLE}/pictures/avocado.png \
             {EXAMPLE}/pictures/jack-o-lantern.png --labels-file {EXAMPLE}/labels.txt --top 3"
        ),
    ];
    for command in commands {
        println!("$ clipway {command}");
        let status = Command::new(&binary)
            .current_dir(&root)
            .args(command.split_whitespace())
            .status()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        if !status.success() {
            return Ok(false);
        }
        println!();
    }
    Ok(true)
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
