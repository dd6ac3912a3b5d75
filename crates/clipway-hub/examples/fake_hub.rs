//! The fake hub of the tests as a program, for other clients: `scripts/check_hub.py` runs it.
//!
//! Prints its address and the token that it accepts, and serves until its standard input ends.

#[path = "../tests/fake/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod fake;

use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let fake = fake::Fake::start();
    let mut out = std::io::stdout();
    writeln!(out, "{} {}", fake.endpoint(), fake::TOKEN)?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
}
