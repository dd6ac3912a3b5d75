//! A newcomer's first command: takes the demo model from a training checkpoint to a verified artifact, and uses it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The commands, as typed by a person.
const COMMANDS: [&[&str]; 4] = [
    &["inspect", "examples/emoji-clip/emoji-clip.pt"],
    &[
        "export",
        "examples/emoji-clip/emoji-clip.pt",
        "--model",
        "examples/emoji-clip/emoji-clip.json",
        "--out",
        "out/emoji-clip",
        "--force",
    ],
    &["verify", "out/emoji-clip", "--against", "examples/emoji-clip/emoji-clip.pt"],
    &[
        "classify",
        "out/emoji-clip",
        "examples/emoji-clip/pictures/lion.png",
        "examples/emoji-clip/pictures/avocado.png",
        "examples/emoji-clip/pictures/jack-o-lantern.png",
        "--labels-file",
        "examples/emoji-clip/labels.txt",
        "--template",
        "an emoji of {}",
        "--top",
        "3",
    ],
];

/// Builds clipway in the profile of this program, and returns the path of the binary.
pub fn clipway() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = own.parent().unwrap_or(&own);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Including this package gives dependencies the same features as in this program's build.
    cargo.args(["build", "--quiet", "--package", "clipway-cli", "--package", "xtask"]).current_dir(root());
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    match cargo.status() {
        Ok(status) if status.success() => Ok(folder.join(format!("clipway{}", std::env::consts::EXE_SUFFIX))),
        Ok(status) => Err(format!("clipway does not build: {status}")),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// Builds clipway, then exports, verifies and classifies, showing each command before its output.
pub fn run() -> Result<bool, String> {
    let root = root();
    let binary = clipway()?;
    std::fs::create_dir_all(root.join("out")).map_err(|error| format!("out: {error}"))?;
    for command in COMMANDS {
        println!("$ clipway {}", command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
        let status = Command::new(&binary)
            .current_dir(&root)
            .args(command)
            .status()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        if !status.success() {
            return Ok(false);
        }
        println!();
    }
    Ok(true)
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    if word.contains([' ', '{']) { format!("\"{word}\"") } else { word.to_owned() }
}

/// Returns the repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
