//! Repositories and servers that mean harm: a clear error, in bounded memory and time.

use std::time::Duration;

use crate::bench::Bench;
use crate::fake::{Fault, TOKEN};

/// Most memory of a pull that is refused, in bytes.
const MEMORY: u64 = 128 << 20;
/// Longest time of a pull that is refused.
const TIME: Duration = Duration::from_secs(60);
/// Most bytes that are printed.
const PRINTED: usize = 4096;

/// Runs every attack, and prints one line for each.
pub fn run(program: &str) -> Result<String, String> {
    let bench = Bench::new(program, 1 << 20)?;
    let oid = "1".repeat(40);
    let one =
        |path: &str, size: &str| format!(r#"{{"type":"file","path":"{path}","size":{size},"oid":"{oid}"}}"#);
    let listing = |path: &str, size: &str| Fault::Body(format!("[{}]", one(path, size)));
    let many = |count: usize| (0..count).map(|n| one(&format!("f#-{n}"), "1")).collect::<Vec<_>>().join(",");
    let here = format!("{}/api/models/me/model/revision/main", bench.fake.endpoint());
    let away = format!("{}/x", bench.fake.state().cdn);
    let attacks: Vec<(&str, &str, Fault, &str)> = vec![
        ("a name with ..", "/tree/", listing("../../x", "1"), "hub-hostile-name"),
        ("a name with a drive", "/tree/", listing("C:/x", "1"), "hub-hostile-name"),
        ("a name of a share", "/tree/", listing(r"\\\\host\\x", "1"), "hub-hostile-name"),
        ("an absolute name", "/tree/", listing("/etc/passwd", "1"), "hub-hostile-name"),
        ("a device's name", "/tree/", listing("a/NUL.txt", "1"), "hub-hostile-name"),
        ("a size of 2^63", "/tree/", listing("a", "9223372036854775808"), "hub-too-large"),
        ("a size of 2^64", "/tree/", listing("a", "18446744073709551616"), "hub-answer"),
        (
            "a million entries in one page",
            "/tree/",
            Fault::Body(format!("[{}]", many(1_000_000))),
            "hub-too-large",
        ),
        ("a million entries in pages", "/tree/", Fault::Endless(many(1000)), "hub-too-large"),
        ("endless empty pages", "/tree/", Fault::Endless(String::new()), "hub-too-large"),
        ("a listing that nests 8 million deep", "/tree/", Fault::Body("[".repeat(8_000_000)), "hub-answer"),
        ("100 MB of a commit", "/revision/", Fault::Body(" ".repeat(100_000_000)), "hub-too-large"),
        ("100 MB of error text", "/revision/", Fault::Huge(100), "hub-unavailable"),
        ("100 MB of error text for a file", "/resolve/", Fault::Huge(100), "hub-unavailable"),
        ("a head of 1 MB", "/revision/", Fault::Head(1 << 20), "hub-too-large"),
        ("a redirect loop", "/revision/", Fault::Redirect(here), "hub-redirects"),
        ("a redirect to another origin", "/revision/", Fault::Redirect(away), "hub-answer"),
        (
            "a redirect of a file's server",
            "/object/",
            Fault::Redirect("http://127.0.0.1:9/x".into()),
            "hub-redirects",
        ),
        ("a server that is silent", "/object/", Fault::Hang(60_000), "hub-timeout"),
        ("a wait of a day", "/revision/", Fault::RateLimit(86_400), "hub-rate-limit"),
    ];
    let (count, mut most) = (attacks.len(), (0, Duration::ZERO));
    for (name, on, fault, code) in attacks {
        bench.fresh();
        bench.fake.fail(on, 0, usize::MAX, fault);
        let ended = bench.end(bench.pull()?)?;
        let found =
            ended.stdout.parse::<serde_json::Value>().unwrap_or_default()["error"]["code"].to_string();
        let (memory, time) = (ended.memory, ended.time);
        println!("{name}: {found}, {:.1} s, {} MiB at most", time.as_secs_f64(), memory >> 20);
        let printed = ended.stdout.len() + ended.stderr.len();
        let leaks = bench.fake.state().seen.iter().any(|seen| seen.is_cdn && seen.authorization.is_some())
            || (ended.stdout + &ended.stderr).contains(TOKEN);
        if found != format!("\"{code}\"") || memory > MEMORY || time > TIME || printed > PRINTED || leaks {
            return Err(format!(
                "{name}: expected {code}, {printed} bytes printed, token leaked: {leaks}: {}",
                ended.stderr
            ));
        }
        most = (most.0.max(memory), most.1.max(time));
    }
    Ok(format!(
        "{count} attacks: each refused with its code, in at most {} MiB and {:.1} s",
        most.0 >> 20,
        most.1.as_secs_f64()
    ))
}
