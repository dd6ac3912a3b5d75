//! Exports that are killed, that race, and that run out of something: the target is always the whole old artifact or
//! the whole new one, and nothing else stays behind. And indices: each is as of a commit.

mod bench;
mod disk;
mod kills;
mod index;
mod races;
mod scarce;

use std::cell::LazyCell;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::demo::{clipway, root};
use crate::outcome::{Outcome, tell};
use bench::{Bench, Kind};
use index::Indexing;
use scarce::Scarce;

/// How often, and at which moments.
#[derive(Args)]
pub struct Options {
    /// Kills per kind of export, counting exports that had not ended
    #[arg(long, default_value_t = 200)]
    moments: usize,
    /// Races of three exports to one target
    #[arg(long, default_value_t = 200)]
    races: usize,
    /// Runs short of disk, file size, descriptors, address space or an open output, per kind
    #[arg(long, default_value_t = 40)]
    scarce: usize,
    /// Kills of runs that fill an index
    #[arg(long, default_value_t = 200)]
    indexing: usize,
    /// Runs that fill an index on a disk that is too small
    #[arg(long, default_value_t = 40)]
    full: usize,
    /// Chooses the moments and amounts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Megabytes of weights for the kills
    #[arg(long, default_value_t = 300)]
    megabytes: usize,
    /// The program; built from this checkout by default
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Kinds of exports to kill
    #[arg(long, value_enum, value_delimiter = ',', default_value = "single,sharded,folder")]
    kinds: Vec<Kind>,
}

/// Megabytes of weights for races and scarce runs.
const SMALL: usize = 3;

/// Runs a number of times, at moments or amounts that a seed chooses.
type Indices = fn(&Indexing, usize, u64) -> Result<String, String>;

/// Runs everything.
pub fn run(options: &Options) -> Result<bool, String> {
    let binary = match &options.program {
        Some(program) => program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?,
        None => clipway()?,
    };
    let folder = root().join("target/crash");
    let bench = |kind, megabytes| Bench::new(kind, &binary, &folder, megabytes);
    let kills = options.kinds.iter().filter(|_| options.moments > 0).map(|&kind| {
        let killed = bench(kind, options.megabytes)
            .and_then(|bench| kills::run(&bench, options.moments, options.seed));
        outcome(&format!("kills-{kind:?}").to_lowercase(), killed)
    });
    let races = (options.races > 0).then_some(options.races).into_iter().map(|count| {
        outcome("races", bench(Kind::Single, SMALL).and_then(|bench| races::run(&bench, count)))
    });
    let scarce = Scarce::value_variants().iter().filter(|_| options.scarce > 0).map(|&what| {
        let run = bench(Kind::Single, SMALL)
            .and_then(|bench| scarce::run(&bench, what, options.scarce, options.seed));
        outcome(&format!("scarce-{what:?}").to_lowercase(), run)
    });
    // Made for the first of the two, after the folder's last bench.
    let made = LazyCell::new(|| Indexing::new(&binary, &folder));
    let indexing: [(&str, usize, Indices); 2] = [
        ("index-kills", options.indexing, Indexing::kills),
        ("index-full-disk", options.full, Indexing::full_disks),
    ];
    let indexing = indexing.into_iter().filter(|(_, count, _)| *count > 0).map(|(name, count, run)| {
        let indexing = made.as_ref().map_err(String::clone);
        outcome(name, indexing.and_then(|indexing| run(indexing, count, options.seed)))
    });
    let passed = tell(kills.chain(races).chain(scarce).chain(indexing));
    bench::remove(&folder)?;
    Ok(passed)
}

fn outcome(name: &str, judged: Result<String, String>) -> Outcome {
    let (passed, detail) = judged.map_or_else(|why| (false, why), |said| (true, said));
    Outcome { name: name.to_owned(), passed, detail }
}
