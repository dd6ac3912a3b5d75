//! A case in a folder of its own: making it, and its steps.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::features::{Features, worst};
use super::judge::{Each, Embed, Judge, Refused, Run, Step, Texts};

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
    pub fn make(
        root: &Path,
        case: &Path,
        judge: &Judge,
        clipway: &Path,
        python: &Path,
    ) -> Result<Place, String> {
        let name = case.file_name().ok_or("a case without a name")?;
        let folder = root.join(name);
        copy(case, &folder)?;
        let common = case.with_file_name("common");
        if common.is_dir() {
            copy(&common, &root.join("common"))?;
        }
        for (name, from) in &judge.copies {
            let from = case.join(from);
            std::fs::copy(&from, folder.join(name))
                .map_err(|error| format!("`{}`: {error}", from.display()))?;
        }
        for (name, value) in &judge.writes {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let path = folder.join(name);
            let parent = path.parent().unwrap_or(&folder);
            let written = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, text));
            written.map_err(|error| format!("`{name}`: {error}"))?;
        }
        let place = Place { folder, clipway: clipway.to_owned() };
        if !case.join("make.py").is_file() {
            return Ok(place);
        }
        let mut command = Command::new(python);
        command.arg("make.py").current_dir(&place.folder).env("CLIPWAY", clipway).env("OMP_NUM_THREADS", "1");
        let output = command.output().map_err(|error| format!("`{}`: {error}", python.display()))?;
        if !output.status.success() {
            return Err(format!("`make.py` failed: {}", last_line(&output)));
        }
        Ok(place)
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
            Step::Refused(refused) => self.refused(refused).map(|found| vec![found]),
            Step::Each(each) => self.each(each).map(|found| vec![found]),
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
        if let Some(missing) = run.there.iter().find(|file| !self.folder.join(file).exists()) {
            return Err(format!("after `{shown}` there is no `{missing}`"));
        }
        for expected in &run.rows {
            let found = Features::read(&self.folder.join(&expected.file))?.count(&expected.tensor)?;
            if found != expected.is {
                return Err(format!("`{}`: {found} rows, not {}", expected.file, expected.is));
            }
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

    fn refused(&self, refused: &Refused) -> Result<String, String> {
        let output = self.clipway(&refused.arguments)?;
        let shown = refused.arguments.join(" ");
        let (said, line) = (said(&output), last_line(&output));
        if !matches!(output.status.code(), Some(1 | 2)) {
            return Err(format!("`{shown}`: {}, not refused", output.status));
        }
        let message = said.find("error: ").map_or("", |at| &said[at..]);
        let code = code(message).ok_or_else(|| format!("`{shown}` is refused without a code: {line}"))?;
        if refused.code.as_ref().is_some_and(|expected| expected != code) {
            return Err(format!("`{shown}` is refused with [{code}]: {line}"));
        }
        let lower = message.to_lowercase();
        if let Some(missing) = refused.says.iter().find(|text| !lower.contains(&text.to_lowercase())) {
            return Err(format!("`{shown}` does not say `{missing}`: {line}"));
        }
        let out = refused.arguments.iter().skip_while(|argument| *argument != "--out").nth(1);
        if out.is_some_and(|out| self.folder.join(out).exists()) {
            return Err(format!("`{shown}` is refused, and its output is there"));
        }
        Ok(format!("refused [{code}]"))
    }

    /// Compares each input of a kind with a tensor of its own.
    fn each(&self, each: &Each) -> Result<String, String> {
        let reference = Features::read(&self.folder.join(&each.reference))?;
        let mut arguments = vec!["embed".to_owned(), each.source.clone()];
        arguments.extend(each.options.iter().cloned());
        arguments.extend(["--out", "features.safetensors", "--force", "--quiet"].map(str::to_owned));
        let are_texts = each.inputs.ends_with(".json");
        let mut names = Vec::new();
        if are_texts {
            let texts: Vec<String> = serde_json::from_value(self.json(&each.inputs)?)
                .map_err(|error| format!("`{}`: {error}", each.inputs))?;
            // No argument of a command holds a zero byte.
            for (number, text) in texts.iter().enumerate().filter(|(_, text)| !text.contains('\0')) {
                names.push(number.to_string());
                arguments.push(format!("--text={text}"));
            }
        } else {
            let folder = self.folder.join(&each.inputs);
            let entries =
                std::fs::read_dir(&folder).map_err(|error| format!("`{}`: {error}", each.inputs))?;
            for entry in entries {
                names.push(
                    entry.map_err(|error| error.to_string())?.file_name().to_string_lossy().into_owned(),
                );
            }
            names.sort();
            arguments.extend(names.iter().map(|name| format!("{}/{name}", each.inputs)));
        }
        let output = self.clipway(&arguments)?;
        let found = Features::read(&self.folder.join("features.safetensors"))
            .map_err(|error| format!("{error}: {}", last_line(&output)))?;
        let (taken, key): (Vec<String>, &str) = match are_texts {
            true => (names.clone(), "text_features"),
            false => (found.files()?, "image_features"),
        };
        let mut problems = Vec::new();
        let mut least = f64::INFINITY;
        for name in &names {
            let row = taken.iter().position(|file| file.rsplit('/').next() == Some(name.as_str()));
            match (row, reference.has(name)) {
                (Some(row), true) => {
                    let cosine = reference.cosine(name, &found, key, row)?;
                    least = least.min(cosine);
                    if cosine.is_nan() || cosine < each.cosine {
                        problems.push(format!("{name}: cosine {cosine:.6}"));
                    }
                }
                (None, true) if !each.may_refuse.contains(name) => problems.push(format!("{name}: refused")),
                (Some(_), false) => problems.push(format!("{name}: taken, and the reference has none")),
                _ => {}
            }
        }
        if !problems.is_empty() {
            return Err(format!("`embed {}`: {}", each.source, problems.join("; ")));
        }
        if least == f64::INFINITY {
            return Err(format!("`embed {}`: nothing was compared", each.source));
        }
        Ok(format!("{} of {} inputs, smallest cosine {least:.7}", taken.len(), names.len()))
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

/// The code in a message, as `[code]` before the end of its first lines.
fn code(message: &str) -> Option<&str> {
    let is_code = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
    };
    let parts = message.lines().filter_map(|line| line.trim_end().strip_suffix(']')?.rsplit_once('['));
    parts.map(|(_, code)| code).find(|code| is_code(code))
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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clipway_formats::{Dtype, TensorInfo, write_safetensors};

    use super::*;

    /// Writes features, `[rows, 2]`.
    fn write(path: &Path, name: &str, values: &[f32]) {
        let info = TensorInfo { name: name.to_owned(), dtype: Dtype::F32, shape: vec![values.len() / 2, 2] };
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let files = [("files".to_owned(), r#"["p/a.png"]"#.to_owned())];
        let mut file = std::fs::File::create(path).unwrap();
        write_safetensors(&mut file, &[info], &files, |_| Ok::<_, std::io::Error>(bytes.clone())).unwrap();
    }

    /// A case whose program is this shell script.
    fn place(root: &Path, script: &str) -> Place {
        let (folder, clipway) = (root.join("case"), root.join("clipway"));
        std::fs::create_dir_all(folder.join("p")).unwrap();
        for name in ["a.png", "b.png"] {
            std::fs::write(folder.join("p").join(name), "").unwrap();
        }
        std::fs::write(&clipway, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&clipway, std::fs::Permissions::from_mode(0o755)).unwrap();
        write(&folder.join("ref.safetensors"), "image_features", &[1.0, 0.0, 0.0, 2.0]);
        write(&folder.join("each.safetensors"), "a.png", &[1.0, 0.0]);
        write(&folder.join("right.safetensors"), "image_features", &[5.0, 0.0, 0.0, 1.0]);
        write(&folder.join("wrong.safetensors"), "image_features", &[5.0, 0.1, 0.0, 1.0]);
        Place { folder, clipway }
    }

    #[track_caller]
    fn check(script: &str, step: &str, expected: Result<&str, &str>) {
        let root = tempfile::tempdir().unwrap();
        let step: Step = serde_json::from_str(step).unwrap();
        let found = place(root.path(), script).step(&step).map(|found| found.join("; "));
        match (&found, expected) {
            (Ok(found), Ok(part)) | (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            _ => panic!("{script}: {found:?}"),
        }
    }

    #[test]
    fn wrong_features_fail() {
        let embed = r#"{"embed": {"source": "m", "reference": "ref.safetensors", "images": []}}"#;
        check("cp right.safetensors features.safetensors", embed, Ok("image_features 1.0000000"));
        check("cp wrong.safetensors features.safetensors", embed, Err("cosine 0.999800, not 0.99999"));
        check("cp each.safetensors features.safetensors", embed, Err("`image_features` is missing"));
        check("echo 'error: no [missing]'; exit 1", embed, Err("error: no [missing]"));
        check("echo 'thread panicked at x'; exit 101", embed, Err("panics"));
        let each = r#"{"each": {"source": "m", "reference": "each.safetensors", "inputs": "p"}}"#;
        check("cp right.safetensors features.safetensors", each, Ok("1 of 2 inputs"));
        check("cp wrong.safetensors features.safetensors", each, Err("a.png: cosine 0.9998"));
    }

    #[test]
    fn a_refusal_has_a_code_and_leaves_nothing() {
        let refused = r#"{"refused": {"arguments": ["export", "m", "--out", "out"], "code": "mismatch", "says": ["prefix"]}}"#;
        check("echo 'error: a Prefix [mismatch]' >&2; exit 1", refused, Ok("refused [mismatch]"));
        check("echo 'error: a prefix [unsupported]' >&2; exit 1", refused, Err("with [unsupported]"));
        check("echo 'error: a prefix' >&2; exit 1", refused, Err("without a code"));
        check("echo 'error: none [mismatch]' >&2; exit 1", refused, Err("does not say `prefix`"));
        check(
            "mkdir out; echo 'error: a prefix [mismatch]' >&2; exit 1",
            refused,
            Err("its output is there"),
        );
        check("echo fine", refused, Err("not refused"));
        let either = format!(r#"{{"either": [[{refused}], [{{"run": {{"arguments": [], "status": 0}}}}]]}}"#);
        check("echo fine", &either, Ok(""));
        check("exit 3", &either, Err("; and: "));
    }
}
