//! A folder to run commands in, and the demo model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The binary under test.
pub const CLIPWAY: &str = env!("CARGO_BIN_EXE_clipway");

/// Returns the folder of the demo model.
pub fn emoji() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/emoji-clip")
        .canonicalize()
        .expect("the demo model")
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Exit status; `None` after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Converts the output of a process.
    pub fn of(output: Output) -> Outcome {
        let text = |bytes| String::from_utf8(bytes).expect("the command speaks UTF-8");
        Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Parses stdout as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self:?}"))
    }

    /// Checks the exit status and returns the outcome.
    #[track_caller]
    pub fn ended(self, code: i32) -> Outcome {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// A temporary folder in which commands run.
pub struct Scene {
    folder: TempDir,
}

impl Scene {
    pub fn new() -> Scene {
        Scene { folder: TempDir::new().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Scene {
        std::fs::write(self.path(name), bytes).expect("a file in a temporary folder");
        self
    }

    /// Copies the exported demo model into the folder.
    pub fn copy_exported(&self, name: &str) -> &Scene {
        self.copy(exported(), name)
    }

    /// Exports the demo model with options, without verifying it.
    pub fn export(&self, options: &[&str]) {
        let export =
            ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json", "--no-verify", "--quiet"];
        self.run(&[&export[..], options].concat()).ended(0);
    }

    /// Copies the files of a folder into a new one.
    fn copy(&self, from: &Path, name: &str) -> &Scene {
        std::fs::create_dir(self.path(name)).expect("a folder in a temporary folder");
        for entry in std::fs::read_dir(from).expect("a folder to copy") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), self.path(name).join(entry.file_name())).expect("a copy");
        }
        self
    }

    /// A scene with the demo's images in `images`.
    #[cfg(feature = "search")]
    pub fn with_images() -> Scene {
        let scene = Scene::new();
        scene.copy(&emoji().join("pictures"), "images");
        scene
    }

    /// A scene with the demo's images, and an index of them in `all.index`.
    #[cfg(feature = "search")]
    pub fn indexed() -> Scene {
        let scene = Scene::with_images();
        scene.run(&["index", "images", "--index", "all.index", "--model", "EXPORTED", "--quiet"]).ended(0);
        scene
    }

    /// Builds a command in the folder, without colors; `EMOJI` and `EXPORTED` in arguments stand for those folders.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CLIPWAY);
        command.args(arguments.iter().map(|argument| expanded(argument)));
        command.current_dir(self.folder.path()).env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE");
        command
    }

    /// Runs a command to completion.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command(arguments).output().expect("the binary runs"))
    }

    /// Lists every file and folder below the folder, with the size of each file.
    pub fn listing(&self) -> BTreeMap<PathBuf, u64> {
        let mut found = BTreeMap::new();
        list(self.folder.path(), &mut found);
        found
    }

    /// Replaces folder names by placeholders, so that texts are the same on every machine.
    pub fn normalized(&self, text: &str) -> String {
        let here = self.folder.path().canonicalize().expect("the folder is there");
        let mut text = text.to_owned();
        for (path, name) in [
            (exported().to_path_buf(), "EXPORTED"),
            (emoji(), "EMOJI"),
            (here, "HERE"),
            (self.folder.path().to_path_buf(), "HERE"),
        ] {
            text = text.replace(&path.display().to_string(), name);
        }
        text
    }
}

fn expanded(argument: &str) -> String {
    let folders: [(&str, &dyn Fn() -> PathBuf); 2] =
        [("EMOJI", &emoji), ("EXPORTED", &|| exported().to_path_buf())];
    let folder = folders.into_iter().find_map(|(word, folder)| {
        let rest = argument.strip_prefix(word)?;
        Some(format!("{}{rest}", folder().display()))
    });
    folder.unwrap_or_else(|| argument.to_owned())
}

fn list(folder: &Path, found: &mut BTreeMap<PathBuf, u64>) {
    for entry in std::fs::read_dir(folder).expect("a folder that can be listed") {
        let path = entry.expect("an entry").path();
        let metadata = std::fs::symlink_metadata(&path).expect("an entry's metadata");
        found.insert(path.clone(), if metadata.is_file() { metadata.len() } else { 0 });
        if metadata.is_dir() {
            list(&path, found);
        }
    }
}

/// Returns the demo model exported with the defaults, once per run.
pub fn exported() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emoji-clip-exported");
        // `--force` would not replace a folder of an earlier version, since it is not an export.
        let _ = std::fs::remove_dir_all(&folder);
        let mut command = Command::new(CLIPWAY);
        command.args(["export", "--model"]).arg(emoji().join("emoji-clip.json"));
        command.arg(emoji().join("emoji-clip.pt")).arg("--out").arg(&folder);
        Outcome::of(command.output().expect("the binary runs")).ended(0);
        folder
    })
}
