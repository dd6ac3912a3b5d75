//! Corrupted downloads by the reference client.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::fake::{Fake, Fault, TOKEN, sha256};

/// Downloads the repository once for each line of its input, each time into an empty cache, and prints the hashes of the
/// two files, or `refused`. It does not sleep between its attempts.
const CLIENT: &str = "
import hashlib, os, shutil, sys, time
time.sleep = lambda seconds: None
from huggingface_hub import snapshot_download
for line in sys.stdin:
    shutil.rmtree(os.environ['HF_HUB_CACHE'], ignore_errors=True)
    try:
        folder = snapshot_download('me/model', max_workers=1)
        names = ['w.bin', 'config.json']
        said = ' '.join(hashlib.sha256(open(os.path.join(folder, name), 'rb').read()).hexdigest() for name in names)
    except Exception:
        said = 'refused'
    print(said, flush=True)
";

/// Counts what is refused, right, and accepted although it is wrong.
pub fn run(python: &str, count: usize) -> Result<String, String> {
    let fake = Fake::start();
    let (weights, config) = (crate::bench::random(3000), crate::bench::random(200));
    fake.commit("me/model", &[("w.bin", &weights), ("config.json", &config)]);
    let right = format!("{} {}", sha256(&weights), sha256(&config));
    let cache = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut command = Command::new(python);
    command.args(["-c", CLIENT]).env("HF_ENDPOINT", fake.endpoint()).env("HF_TOKEN", TOKEN);
    command.env("HF_HUB_CACHE", cache.path().join("hub")).env("HF_HUB_DISABLE_XET", "1");
    command.env("HF_HUB_DISABLE_TELEMETRY", "1").env("HF_HUB_DISABLE_PROGRESS_BARS", "1");
    command.env("HF_HUB_DOWNLOAD_TIMEOUT", "1").env("HF_HUB_VERBOSITY", "critical");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("{python}: {error}"))?;
    let (mut input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let mut said = BufReader::new(output).lines();
    let (mut refused, mut mended, mut accepted) = (0, 0, 0);
    for number in 0..count {
        fake.calm();
        fake.plan(Fault::corruption(number));
        writeln!(input, "next").map_err(|error| error.to_string())?;
        let line = said.next().ok_or("the client ended")?.map_err(|error| error.to_string())?;
        match line.as_str() {
            "refused" => refused += 1,
            line if line == right => mended += 1,
            _ => accepted += 1,
        }
    }
    drop(input);
    child.wait().map_err(|error| error.to_string())?;
    Ok(format!(
        "{count} corrupted downloads by the reference client: {refused} refused, {mended} right after all, {accepted} \
         accepted although they were wrong"
    ))
}
