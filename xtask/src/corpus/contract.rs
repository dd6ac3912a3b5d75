//! The contract for refusals, checked on the program itself: every command that reads a hostile file prints one message
//! and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clipway_formats::is_invisible;
use regex::Regex;

use super::child::{GLANCE, Usage, usage_of};
use super::limits::{self, Limits};
use super::manifest::{Case, Expectation, Format, Manifest};
use super::{first_difference, listing};
use crate::demo::{clipway, root};
use crate::outcome::{Outcome, tell};

/// Maximum bytes of a line of output, and of the whole output: an error lists everything wrong.
const LONGEST_LINE: usize = 4000;
const LONGEST_TALK: usize = 100_000;

/// Runs the program on every file of a folder that must be refused.
pub fn run(folder: &Path, only: Option<&Regex>, except: Option<&Regex>) -> Result<bool, String> {
    let folder = folder.canonicalize().map_err(|error| format!("`{}`: {error}", folder.display()))?;
    let manifest = Manifest::read(&folder)?;
    let scene = Scene::new()?;
    let is_wanted = |case: &Case| {
        case.expectation == Expectation::Reject
            && case.alt.is_none()
            && except.is_none_or(|except| !except.is_match(&case.name))
    };
    let cases =
        manifest.cases(only).into_iter().filter(|case| case.as_ref().is_ok_and(is_wanted) || case.is_err());
    let outcomes = cases.flat_map(|case| {
        let case = match case {
            Ok(case) => case,
            Err((name, why)) => return vec![Outcome { name, passed: false, detail: why }],
        };
        let file = case.file(&folder);
        let each = commands(case.format, &file).into_iter().map(|command| {
            let judged = scene.refused(&case, &file, &command);
            let (passed, detail) = judged.map_or_else(|why| (false, why), |said| (true, said));
            Outcome { name: format!("{} {}", command[0], case.name), passed, detail }
        });
        each.collect::<Vec<_>>()
    });
    let passed = tell(outcomes);
    if manifest.canary.exists() {
        return Err(format!("`{}` was made: something in a file was executed", manifest.canary.display()));
    }
    Ok(passed)
}

/// Returns the commands that read a file of this kind; `FOLDER` is a sound export, `MODEL` its config, `IMAGE` an image
/// and `TOKENS` an export with the file as its tokenizer file.
fn commands(format: Format, file: &Path) -> Vec<Vec<String>> {
    let file = file.display().to_string();
    let lists: &[&[&str]] = match format {
        Format::Pt
        | Format::Legacy
        | Format::Zip
        | Format::Torchscript
        | Format::WrongFile
        | Format::Safetensors
        | Format::Sharded
        | Format::Npy
        | Format::Npz
        | Format::Onnx => &[
            &["inspect", "FILE"],
            &["inspect", "FILE", "--json", "--tensors", "--stats"],
            &["export", "FILE", "--model", "MODEL", "--out", "out"],
            &["export", "FILE", "--model", "MODEL", "--out", "FOLDER", "--force"],
            &["verify", "FOLDER", "--against", "FILE", "--model", "MODEL"],
            &["embed", "FILE", "IMAGE", "--model", "MODEL"],
            &["classify", "FILE", "IMAGE", "--labels", "a,b", "--model", "MODEL"],
        ],
        Format::Image => &[&["embed", "FOLDER", "FILE"], &["classify", "FOLDER", "FILE", "--labels", "a,b"]],
        // `corpus` passes other tokenizer files to the reader directly.
        Format::Tokenizer if file.ends_with(".json") && !file.ends_with("_config.json") => {
            &[&["embed", "TOKENS", "--text", "a"], &["classify", "TOKENS", "IMAGE", "--labels", "a,b"]]
        }
        Format::Tokenizer => &[],
        Format::Config => &[&["models", "FILE"], &["export", "FOLDER", "--model", "FILE", "--out", "out"]],
    };
    let word = |word: &&str| if *word == "FILE" { file.clone() } else { (*word).to_owned() };
    lists.iter().map(|words| words.iter().map(word).collect()).collect()
}

/// A folder to run commands in, with a sound export of the demo model.
struct Scene {
    binary: PathBuf,
    folder: PathBuf,
    demo: PathBuf,
}

/// The tokenizer file in the folder `TOKENS`.
const TOKENIZER: &str = "tokens/tokenizer.json";

impl Scene {
    fn new() -> Result<Scene, String> {
        let binary = clipway()?;
        let folder = root().join("target/contract");
        let demo = root().join("examples/emoji-clip");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
        let scene = Scene { binary, folder, demo };
        let mut export = scene.command(&[]);
        export.arg("export").arg(scene.demo.join("emoji-clip.pt"));
        export.args(["--out", "model", "--no-verify", "--model"]).arg(scene.demo.join("emoji-clip.json"));
        let output = export.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!("the demo model: {}", String::from_utf8_lossy(&output.stderr)));
        }
        scene.make_tokens().map_err(|error| format!("`{}`: {error}", scene.folder.display()))?;
        Ok(scene)
    }

    /// Creates a folder with the demo model whose config names its own tokenizer.
    fn make_tokens(&self) -> std::io::Result<()> {
        let (model, tokens) = (self.folder.join("model"), self.folder.join("tokens"));
        std::fs::create_dir(&tokens)?;
        std::fs::copy(model.join("open_clip_model.safetensors"), tokens.join("open_clip_model.safetensors"))?;
        let config = std::fs::read(model.join("open_clip_config.json"))?;
        let mut config: serde_json::Value = serde_json::from_slice(&config)?;
        config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "tokens".into();
        std::fs::write(tokens.join("open_clip_config.json"), config.to_string())
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(&self.binary);
        for word in words {
            match word.as_str() {
                "FOLDER" => command.arg("model"),
                "TOKENS" => command.arg("tokens"),
                "MODEL" => command.arg(self.demo.join("emoji-clip.json")),
                "IMAGE" => command.arg(self.demo.join("pictures/lion.png")),
                word => command.arg(word),
            };
        }
        command.current_dir(&self.folder).env("TMPDIR", &self.folder).env("NO_COLOR", "1");
        command
    }

    /// Runs a command that must refuse the file under the whole contract; returns its message.
    fn refused(&self, case: &Case, file: &Path, words: &[String]) -> Result<String, String> {
        let absent = |error| format!("the file of the case is absent: {error}");
        let mut file = file.to_owned();
        if case.format == Format::Tokenizer {
            let place = self.folder.join(TOKENIZER);
            std::fs::copy(&file, &place).map_err(absent)?;
            file = place;
        }
        let bytes = file.metadata().map_err(absent)?.len();
        let beside = file.parent().unwrap_or(&file);
        let sides = [self.folder.clone(), self.folder.join("model"), beside.to_owned()];
        let listings = || sides.iter().map(|side| listing(side)).collect::<Result<Vec<_>, _>>();
        let before = listings()?;
        let limits = Limits::of(case.format, bytes, limits::is_loaded());
        let said = self.run(words, &limits)?;
        let after = listings()?;
        let different = before.iter().zip(&after).find_map(|(before, after)| first_difference(before, after));
        if let Some(path) = different {
            return Err(format!("`{}` was made, changed or removed", path.display()));
        }
        check_words(case.format, &file, words, said)
    }

    /// Runs a command to completion, within limits.
    fn run(&self, words: &[String], limits: &Limits) -> Result<Said, String> {
        let start = Instant::now();
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut most = Usage::default();
        while child.try_wait().map_err(|error| error.to_string())?.is_none() {
            let usage = usage_of(child.id());
            most = Usage { time: usage.time.max(most.time), memory: usage.memory.max(most.memory) };
            let over = start.elapsed() > limits.wall
                || most.time.is_some_and(|time| time > limits.time)
                || most.memory.is_some_and(|memory| memory > limits.memory);
            if over {
                let stopped = child.kill().and_then(|()| child.wait());
                return Err(format!("took more than it may ({most:?} of {limits:?}); {stopped:?}"));
            }
            std::thread::sleep(GLANCE);
        }
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let text = |bytes| String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned());
        Ok(Said { code: output.status.code(), stdout: text(output.stdout)?, stderr: text(output.stderr)? })
    }
}

/// The result of a command.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Checks for a single message with the file and a code, and without terminal control characters.
fn check_words(format: Format, file: &Path, words: &[String], said: Said) -> Result<String, String> {
    let Said { code, stdout, stderr } = said;
    let wrong = |why: &str| Err(format!("{why}: exit {code:?}, {stdout:?}, {stderr:?}"));
    // Names and shapes do not reveal faulty weights; with `--stats` they are read and refused.
    let has = |word: &str| words.iter().any(|known| known == word);
    if code == Some(0) && has("inspect") && !has("--stats") {
        return Ok("its weights are not read".to_owned());
    }
    // Earlier findings of the command precede the message. An image is reported in a warning, since the remaining
    // images of a batch continue.
    let message = match format {
        Format::Image => stderr.strip_prefix("warning: "),
        _ => stderr.strip_prefix("error: ").or_else(|| Some(stderr.split_once("\nerror: ")?.1)),
    };
    let Some(message) = message else { return wrong("no message") };
    let first = message.lines().next().unwrap_or_default();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    if code != Some(1) {
        return wrong("not exit status 1");
    }
    let is_long = message.len() > LONGEST_TALK || message.lines().any(|line| line.len() > LONGEST_LINE);
    if ["error: ", "warning: "].iter().any(|word| message.contains(word)) || is_long {
        return wrong("more than one message, or a long one");
    }
    if !message.contains(&*name) {
        return wrong("the file is not named");
    }
    if !first.contains(" [") {
        return wrong("no code");
    }
    if message.contains(|c: char| c != '\n' && is_invisible(c)) {
        return wrong("not escaped");
    }
    let is_json = has("--json");
    let has_code = serde_json::from_str::<serde_json::Value>(&stdout)
        .is_ok_and(|value| value["error"]["code"].as_str().is_some_and(|code| !code.is_empty()));
    let nothing = if format == Format::Image && has("embed") { "[]\n" } else { "" };
    if is_json != has_code || !(is_json || stdout == nothing) {
        return wrong("stdout");
    }
    Ok(first.chars().take(150).collect())
}
