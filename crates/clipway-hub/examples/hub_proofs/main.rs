//! Proofs that are too long for the tests, on the fake hub and with the real program as a process of its own:
//!
//! ```sh
//! cargo build --release -p clipway-cli
//! cargo run --release -p clipway-hub --example hub_proofs -- target/release/clipway kills --count 100 --megabytes 300
//! cargo run --release -p clipway-hub --example hub_proofs -- target/release/clipway races --count 20 --megabytes 100
//! cargo run --release -p clipway-hub --example hub_proofs -- target/release/clipway hostile
//! cargo run --release -p clipway-hub --example hub_proofs -- target/release/clipway speed --count 5 --megabytes 605
//! cargo run --release -p clipway-hub --example hub_proofs -- python3 reference --count 1400
//! ```
//!
//! `reference` counts what `huggingface_hub` accepts of the corrupted downloads of the test `faults`. Exits with 1 if something does not hold.

#[path = "../../tests/fake/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod fake;

mod bench;
mod hostile;
mod kills;
mod reference;
mod speed;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(Ok(default), |at| arguments.get(at + 1).map_or(Ok(default), |text| text.parse()))
    };
    let (Ok(count), Ok(megabytes)) = (number("--count", 5), number("--megabytes", 30)) else {
        eprintln!("`--count` and `--megabytes` are numbers");
        return ExitCode::from(2);
    };
    let held = match &arguments[..] {
        [program, what, ..] if what == "kills" => kills::kills(program, count, megabytes << 20),
        [program, what, ..] if what == "races" => kills::races(program, count, megabytes << 20),
        [program, what, ..] if what == "hostile" => hostile::run(program),
        [program, what, ..] if what == "speed" => speed::run(program, count, megabytes * 1_000_000),
        [python, what, ..] if what == "reference" => reference::run(python, count),
        _ => Err("usage: hub_proofs PROGRAM kills|races|hostile|speed [--count N] [--megabytes N]\n\
                  \x20      hub_proofs PYTHON reference [--count N]"
            .to_owned()),
    };
    match held {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED  {why}");
            ExitCode::from(1)
        }
    }
}
