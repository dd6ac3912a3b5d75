//! Kills exports at random moments: the output is always the complete old or new artifact, and the next run removes
//! what the killed one left.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use clipway_formats::{Dtype, TensorInfo, write_safetensors};
use clipway_model::architecture;
use clipway_model::config::ConfigFile;
use clipway_testing::formula;
use sha2::{Digest, Sha256};

use crate::demo::{clipway, root};
use crate::outcome::{Outcome, tell};

/// Time between two looks at a process.
const GLANCE: Duration = Duration::from_micros(500);

/// Most exports that end before they are killed, for each that is killed.
const MOST_ENDED: usize = 4;

/// Exit status of a command that finds something in its place.
const COULD_NOT_RUN: i32 = 2;

/// What an export writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// A folder with one file of weights
    Single,
    /// A folder with shards and their index
    Sharded,
    /// A folder with the weights in both formats, from an exported folder
    Folder,
}

/// How often, and at which moments.
#[derive(Args)]
pub struct Options {
    /// Kills of each kind of export, of exports that had not ended
    #[arg(long, default_value_t = 200)]
    moments: usize,
    /// Chooses the moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Megabytes of weights
    #[arg(long, default_value_t = 300)]
    megabytes: usize,
    /// Kinds of exports
    #[arg(long, value_enum, value_delimiter = ',', default_value = "single,sharded,folder")]
    kinds: Vec<Kind>,
}

/// Names of the files of a folder, with the SHA-256 of each.
type Content = BTreeMap<PathBuf, String>;

/// Two sources of one model and the commands that export them.
struct Bench {
    binary: PathBuf,
    folder: PathBuf,
    kind: Kind,
    megabytes: usize,
}

/// What came of the kills of a kind.
#[derive(Default)]
struct Count {
    old: usize,
    new: usize,
    ended: usize,
    leftovers: usize,
}

/// Runs all kinds.
pub fn run(options: &Options) -> Result<bool, String> {
    let binary = clipway()?;
    let folder = root().join("target/crash");
    let passed = tell(options.kinds.iter().map(|&kind| {
        let judged = run_kind(kind, &binary, &folder, options);
        let (passed, detail) =
            judged.map_or_else(|why| (false, why), |count| (count.killed() > 0, count.told()));
        Outcome { name: format!("{kind:?}").to_lowercase(), passed, detail }
    }));
    remove(&folder)?;
    Ok(passed)
}

fn run_kind(kind: Kind, binary: &Path, folder: &Path, options: &Options) -> Result<Count, String> {
    remove(folder)?;
    fs::create_dir_all(folder).map_err(|error| shown(folder, error))?;
    let (binary, folder, megabytes) = (binary.to_owned(), folder.to_owned(), options.megabytes);
    Bench { binary, folder, kind, megabytes }.run(options.moments, options.seed)
}

impl Count {
    /// Exports that had not ended when they were killed.
    fn killed(&self) -> usize {
        self.old + self.new - self.ended
    }

    fn told(&self) -> String {
        format!(
            "{} kills, and {} exports that had ended: {} times the old artifact, {} times the new one, whole by hash; \
             {} left something, which the next run removed",
            self.killed(),
            self.ended,
            self.old,
            self.new,
            self.leftovers
        )
    }
}

impl Bench {
    fn run(&self, moments: usize, seed: u64) -> Result<Count, String> {
        for letter in ["a", "b"] {
            write_source(&self.path(letter), letter, self.megabytes)?;
        }
        if self.kind == Kind::Folder {
            for letter in ["a", "b"] {
                finish(self.export(letter, &format!("source-{letter}"), &[])?)?;
            }
        }
        // What each source gives, and how long it takes; the first time files are read it takes longer.
        let (a, _) = self.whole("a")?;
        let (b, mut length) = self.whole("b")?;
        let wholes = [a, b];
        if wholes[0] == wholes[1] {
            return Err("the two sources give one artifact".to_owned());
        }
        let mut random = Random(seed);
        let mut count = Count::default();
        let mut current = 1;
        while count.killed() < moments {
            if count.ended > MOST_ENDED * (moments + 1) {
                return Err(format!("most exports end before they are killed: {}", count.told()));
            }
            let next = 1 - current;
            let delay = length.mul_f64(1.05 * random.unit());
            let context = format!("kill {} after {:.3} s", count.killed(), delay.as_secs_f64());
            let ended = self.kill_after(next, delay)?;
            // On a machine with other work exports take now longer, now shorter.
            match ended {
                Some(found) => length = found,
                None if delay > length.mul_f64(0.9) => length = length.mul_f64(1.1),
                None => {}
            }
            let found = content(&self.path("out"))?;
            let placed = wholes.iter().position(|whole| *whole == found);
            let Some(placed) = placed else {
                return Err(format!("{context}: neither the old artifact nor the new one: {found:?}"));
            };
            let (old, new) = (usize::from(placed == current), usize::from(placed == next));
            count.old += old;
            count.new += new;
            count.ended += usize::from(ended.is_some());
            count.leftovers += usize::from(self.leftovers()? > 0);
            self.check_next_run(&context)?;
            current = placed;
        }
        Ok(count)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts the export of a source.
    fn export(&self, letter: &str, out: &str, more: &[&str]) -> Result<Child, String> {
        let source = self.path(letter).join("model.safetensors");
        self.start(&source, out, more)
    }

    fn start(&self, source: &Path, out: &str, more: &[&str]) -> Result<Child, String> {
        let mut command = Command::new(&self.binary);
        command.arg("export").arg(source).arg("--out").arg(self.path(out)).args(["--no-verify", "--quiet"]);
        command.args(more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().map_err(|error| shown(&self.binary, error))
    }

    /// Starts the export of a source to the target, over what is there.
    fn replace(&self, source: usize) -> Result<Child, String> {
        let letter = ["a", "b"][source];
        match self.kind {
            Kind::Single => self.export(letter, "out", &["--force"]),
            Kind::Sharded => {
                let size = format!("{}MB", self.megabytes.div_ceil(6));
                self.export(letter, "out", &["--force", "--max-shard-size", &size])
            }
            Kind::Folder => {
                let source = self.path(&format!("source-{letter}"));
                self.start(&source, "out", &["--force", "--to", "open_clip,pytorch"])
            }
        }
    }

    /// Exports a source to the end, and gives what is in place then and how long the export took.
    fn whole(&self, letter: &str) -> Result<(Content, Duration), String> {
        let start = Instant::now();
        finish(self.replace(usize::from(letter == "b"))?)?;
        let length = start.elapsed();
        Ok((content(&self.path("out"))?, length))
    }

    /// Kills an export after some time; how long it took, if it had ended before.
    fn kill_after(&self, source: usize, delay: Duration) -> Result<Option<Duration>, String> {
        let start = Instant::now();
        let mut child = self.replace(source)?;
        while start.elapsed() < delay {
            if child.try_wait().map_err(|error| error.to_string())?.is_some() {
                return Ok(Some(start.elapsed()));
            }
            thread::sleep(GLANCE.min(delay.saturating_sub(start.elapsed())));
        }
        child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
        Ok(None)
    }

    /// Files and folders beside the target that are no sources.
    fn leftovers(&self) -> Result<usize, String> {
        let entries = fs::read_dir(&self.folder).map_err(|error| shown(&self.folder, error))?;
        let mut count = 0;
        for entry in entries {
            let name = entry.map_err(|error| shown(&self.folder, error))?.file_name();
            let name = name.to_string_lossy();
            let is_ours = name == "a" || name == "b" || name == "out" || name.starts_with("source-");
            count += usize::from(!is_ours);
        }
        Ok(count)
    }

    /// A run that finds the artifact in place, and so writes nothing, leaves nothing else either.
    fn check_next_run(&self, context: &str) -> Result<(), String> {
        let status = self.export("a", "out", &[])?.wait().map_err(|error| error.to_string())?;
        if status.code() != Some(COULD_NOT_RUN) {
            return Err(format!("{context}: the next run ended with {status}"));
        }
        match self.leftovers()? {
            0 => Ok(()),
            count => Err(format!("{context}: {count} leftovers after the next run")),
        }
    }
}

/// Waits for an export, which must succeed.
fn finish(child: Child) -> Result<(), String> {
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "the export ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Writes a folder with a config and weights by formula, which depend on `letter`.
fn write_source(folder: &Path, letter: &str, megabytes: usize) -> Result<(), String> {
    /// Width of both towers, and bytes of a block of this width.
    const WIDTH: usize = 512;
    const BLOCK_BYTES: usize = 12 * WIDTH * WIDTH * 4;
    let layers = (megabytes * 1_000_000 / BLOCK_BYTES).div_ceil(2).max(1);
    let config = format!(
        r#"{{"embed_dim": {WIDTH},
            "vision_cfg": {{"image_size": 64, "layers": {layers}, "width": {WIDTH}, "patch_size": 16}},
            "text_cfg": {{"context_length": 16, "vocab_size": 49408, "width": {WIDTH}, "heads": 8, "layers": 1}}}}"#
    );
    fs::create_dir_all(folder).map_err(|error| shown(folder, error))?;
    let written = fs::write(folder.join("open_clip_config.json"), format!(r#"{{"model_cfg": {config}}}"#));
    written.map_err(|error| shown(folder, error))?;
    let file = ConfigFile::parse(config.as_bytes()).map_err(|error| error.to_string())?;
    let model = architecture::build(&file.model).map_err(|error| error.to_string())?;
    let infos: Vec<TensorInfo> = model
        .parameters
        .in_state_dict_order()
        .into_iter()
        .map(|id| {
            let parameter = model.parameters.get(id);
            TensorInfo { name: parameter.name.clone(), dtype: Dtype::F32, shape: parameter.shape.clone() }
        })
        .collect();
    let path = folder.join("model.safetensors");
    let mut out = io::BufWriter::new(fs::File::create(&path).map_err(|error| shown(&path, error))?);
    let mut values = Vec::new();
    let written = write_safetensors(&mut out, &infos, &[], |index| {
        formula::fill(&format!("{letter}.{}", infos[index].name), &infos[index].shape, &mut values);
        Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    });
    written.and_then(|()| out.flush()).map_err(|error| shown(&path, error))
}

/// Every file below a folder, by hash.
fn content(folder: &Path) -> Result<Content, String> {
    let mut found = Content::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).map_err(|error| shown(&at, error))? {
            let path = entry.map_err(|error| shown(&at, error))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut hash = Sha256::new();
            let copied = fs::File::open(&path).and_then(|mut file| io::copy(&mut file, &mut hash));
            copied.map_err(|error| shown(&path, error))?;
            let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            found.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), hex);
        }
    }
    Ok(found)
}

/// Numbers that a seed gives, by splitmix64.
struct Random(u64);

impl Random {
    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(shown(folder, error)),
        _ => Ok(()),
    }
}

fn shown(path: &Path, error: io::Error) -> String {
    format!("`{}`: {error}", path.display())
}
