//! Options for the limits of `serve`.

use std::time::Duration;

use clap::Args;
use clipway_serve::Limits;

use crate::options::size;

/// Heading in `--help`.
const HEADING: &str = "Limits";

/// Limits of the server; each has a default.
#[derive(Args)]
#[command(next_help_heading = HEADING)]
pub struct LimitOptions {
    /// Estimated wait in seconds above which requests are refused with 429 [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    max_wait: Option<Duration>,

    /// Texts and images that wait or are computed, above which requests are refused with 503 [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_queue: Option<u32>,

    /// Memory for bodies and prepared inputs [default: 512MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_queue_bytes: Option<u64>,

    /// Texts and images of a request together [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_inputs: Option<u32>,

    /// Size of a request's body [default: 20MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_body: Option<u64>,

    /// Size of an image file [default: 10MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_image: Option<u64>,

    /// Size of a text [default: 64KiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_text: Option<u64>,

    /// Size of a request's head [default: 16KiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_head: Option<u64>,

    /// Open connections [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// Open connections of one address [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections_per_address: Option<u32>,

    /// Seconds in which a request's head arrives [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    head_timeout: Option<Duration>,

    /// Seconds that a connection stays open between requests [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle_timeout: Option<Duration>,

    /// Seconds for a whole request [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    request_timeout: Option<Duration>,

    /// Seconds for which a client may take nothing of its answer [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    write_timeout: Option<Duration>,

    /// Bytes a second that a body has at least, after 5 seconds [default: 1024]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    min_body_rate: Option<u64>,

    /// Seconds to fetch an image, redirects included [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "allow_image_host")]
    pub fetch_timeout: Option<Duration>,

    /// Images that are fetched at a time; the rest waits [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), requires = "allow_image_host")]
    pub max_fetches: Option<u32>,

    /// Seconds to finish accepted requests after an interrupt [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    drain: Option<Duration>,
}

impl LimitOptions {
    /// The limits, with defaults for what was not given.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        let count = |given: Option<u32>, default: usize| given.map_or(default, |count| count as usize);
        let bytes = |given: Option<u64>, default: usize| {
            given.map_or(default, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
        };
        Limits {
            max_wait: self.max_wait.unwrap_or(default.max_wait),
            queue_items: count(self.max_queue, default.queue_items),
            queue_bytes: self.max_queue_bytes.unwrap_or(default.queue_bytes),
            inputs: count(self.max_inputs, default.inputs),
            body_bytes: bytes(self.max_body, default.body_bytes),
            image_bytes: bytes(self.max_image, default.image_bytes),
            text_bytes: bytes(self.max_text, default.text_bytes),
            head_bytes: bytes(self.max_head, default.head_bytes),
            connections: count(self.max_connections, default.connections),
            connections_per_address: count(self.max_connections_per_address, default.connections_per_address),
            head_time: self.head_timeout.unwrap_or(default.head_time),
            idle_time: self.idle_timeout.unwrap_or(default.idle_time),
            request_time: self.request_timeout.unwrap_or(default.request_time),
            write_time: self.write_timeout.unwrap_or(default.write_time),
            body_rate: self.min_body_rate.unwrap_or(default.body_rate),
            drain: self.drain.unwrap_or(default.drain),
            ..default
        }
    }
}

/// Parses a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number of seconds from 0.001 to 86400".to_owned();
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(expected()),
    }
}
