//! A case in a folder of its own: making it, and its steps.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::features::{Features, worst};
use super::judge::{Embed, Run, Step, Texts};

/// The texts that all cases share.
const TEXTS: [&str; 4] = [
    "a photo of a cat",
    "a diagram of an engine",
    "Zürich, 東京 & ελληνικά",
    "two dogs run over the wet grass.",
];

/// The images that all cases share; Python draws them.
const IMAGES: [&str; 3] = ["../common/pics/p0.png", "../common/pics/p1.png", "../common/pics/p2.png"];

/// A case that was made.
pub struct Place {
    folder: PathBuf,
    clipway: PathBuf,
}

impl Place {
    /// Copies a case and what it shares, and makes its files.
    pub fn make(root: &Path, case: &Path, clipway: &Path, python: &Path) -> Result<Place, String> {
        let name = case.file_name().ok_or("a case without a name")?;
        let folder = root.join(name);
        copy(case, &folder)?;
        let common = case.with_file_name("common");
        if common.is_dir() {
            copy(&common, &root.join("common"))?;
        }
        let mut command = Command::new(python);
        command.arg("make.py").current_dir(&folder).env("CLIPWAY", clipway).env("OMP_NUM_THREADS", "1");
        let output = command.output().map_err(|error| format!("`{}`: {error}", python.display()))?;
        if !output.status.success() {
            return Err(format!("`make.py` failed: {}", last_line(&output)));
        }
        Ok(Place { folder, clipway: clipway.to_owned() })
    }

    /// Takes a step, and gives what was measured.
    ///
    /// # Errors
    /// What is not right.
    pub fn step(&self, step: &Step) -> Result<Vec<String>, String> {
        match step {
            Step::Run(run) => self.run(run).map(|()| Vec::new()),
            Step::Embed(embed) => self.embed(&embed.source, &embed.options, embed).map(|found| vec![found]),
            Step::Export(embed) => self.export(embed),
            Step::Either(alternatives) => {
                let mut causes = Vec::new();
                for steps in alternatives {
                    let taken: Result<Vec<_>, String> = steps.iter().map(|step| self.step(step)).collect();
                    match taken {
                        Ok(found) => return Ok(found.concat()),
                        Err(cause) => causes.push(cause),
                    }
                }
                Err(causes.join("; and: "))
            }
        }
    }

    fn run(&self, run: &Run) -> Result<(), String> {
        let output = self.clipway(&run.arguments)?;
        let said = said(&output);
        let shown = run.arguments.join(" ");
        if output.status.code() != Some(run.status) {
            let (status, line) = (output.status, last_line(&output));
            return Err(format!("`{shown}`: {status}, not {}: {line}", run.status));
        }
        let code = run.code.iter().map(|code| format!("[{code}]"));
        let holds = |text: &str| said.to_lowercase().contains(&text.to_lowercase());
        if let Some(missing) = run.says.iter().cloned().chain(code).find(|text| !holds(text)) {
            return Err(format!("`{shown}` does not say `{missing}`: {}", last_line(&output)));
        }
        if let Some(found) = run.never.iter().find(|text| holds(text)) {
            return Err(format!("`{shown}` says `{found}`"));
        }
        for expected in &run.json {
            let found = self.json(&expected.file)?;
            let found = found.pointer(&expected.at).unwrap_or(&Value::Null);
            if *found != expected.is {
                return Err(format!("`{}`: {} is {found}, not {}", expected.file, expected.at, expected.is));
            }
        }
        Ok(())
    }

    fn export(&self, embed: &Embed) -> Result<Vec<String>, String> {
        let mut arguments = vec!["export".to_owned(), embed.source.clone()];
        arguments.extend(embed.options.iter().cloned());
        arguments.extend(["--out", "exported", "--force"].map(str::to_owned));
        let output = self.clipway(&arguments)?;
        if !output.status.success() {
            return Err(format!("`export {}`: {}: {}", embed.source, output.status, last_line(&output)));
        }
        // Options that change the model, such as another size, are the export's alone.
        Ok(vec![self.embed("exported", &[], embed)?])
    }

    /// Compares features; what they are and how near.
    fn embed(&self, source: &str, options: &[String], embed: &Embed) -> Result<String, String> {
        let reference = Features::read(&self.folder.join(&embed.reference))?;
        let text_key = embed.text_key.as_deref().unwrap_or("text_features");
        let image_key = embed.image_key.as_deref().unwrap_or("image_features");
        let keys = [(image_key, "image_features"), (text_key, "text_features")];
        let keys: Vec<_> = keys.into_iter().filter(|(theirs, _)| reference.has(theirs)).collect();
        if keys.is_empty() {
            return Err(format!("`{}` holds neither `{image_key}` nor `{text_key}`", embed.reference));
        }
        let mut arguments = vec!["embed".to_owned(), source.to_owned()];
        arguments.extend(options.iter().cloned());
        if reference.has(image_key) {
            let shared = || IMAGES.map(str::to_owned).to_vec();
            arguments.extend(embed.images.clone().unwrap_or_else(shared));
        }
        if reference.has(text_key) {
            for text in self.texts(embed)? {
                arguments.push(format!("--text={text}"));
            }
        }
        arguments.extend(["--out", "features.safetensors", "--force"].map(str::to_owned));
        let output = self.clipway(&arguments)?;
        if !output.status.success() {
            return Err(format!("`embed {source}`: {}: {}", output.status, last_line(&output)));
        }
        let found = Features::read(&self.folder.join("features.safetensors"))?;
        let mut parts = Vec::new();
        for (theirs, ours) in keys {
            let cosine = worst(&reference, theirs, &found, ours)?;
            if cosine.is_nan() || cosine < embed.cosine {
                return Err(format!("`{source}`, {ours}: cosine {cosine:.6}, not {}", embed.cosine));
            }
            parts.push(format!("{ours} {cosine:.7}"));
        }
        Ok(format!("`{source}`: {}", parts.join(", ")))
    }

    fn texts(&self, embed: &Embed) -> Result<Vec<String>, String> {
        match &embed.texts {
            None => Ok(TEXTS.map(str::to_owned).to_vec()),
            Some(Texts::These(texts)) => Ok(texts.clone()),
            Some(Texts::File(file)) => {
                serde_json::from_value(self.json(file)?).map_err(|error| format!("`{file}`: {error}"))
            }
        }
    }

    fn json(&self, file: &str) -> Result<Value, String> {
        let text =
            std::fs::read_to_string(self.folder.join(file)).map_err(|error| format!("`{file}`: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("`{file}`: {error}"))
    }

    fn clipway(&self, arguments: &[String]) -> Result<Output, String> {
        let mut command = Command::new(&self.clipway);
        command.args(arguments).current_dir(&self.folder).env("NO_COLOR", "1");
        let output = command.output().map_err(|error| format!("`{}`: {error}", self.clipway.display()))?;
        match said(&output).contains("panicked at") {
            true => Err(format!("`{}` panics", arguments.join(" "))),
            false => Ok(output),
        }
    }
}

/// What a command wrote.
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The most finding line of what a command wrote: its error's, else the last one.
fn last_line(output: &Output) -> String {
    let said = said(output);
    let lines = || said.lines().filter(|line| !line.trim().is_empty());
    let error = lines().find(|line| line.starts_with("error:")).or_else(|| lines().next_back());
    error.unwrap_or_default().chars().take(200).collect()
}

/// Copies a folder, whose files may be read-only.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let fault = |error: std::io::Error| format!("`{}`: {error}", from.display());
    std::fs::create_dir_all(to).map_err(fault)?;
    for entry in std::fs::read_dir(from).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::write(&target, std::fs::read(&path).map_err(fault)?).map_err(fault)?;
        }
    }
    Ok(())
}
