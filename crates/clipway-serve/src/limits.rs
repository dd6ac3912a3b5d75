//! Every limit of the server.

use std::time::Duration;

use clipway_run::image::DecodeLimits;

/// What one client, one request and all of them together may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Time in which a request's head arrives.
    pub head_time: Duration,
    /// Time that a connection may stay open between two requests.
    pub idle_time: Duration,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of a body that arrive each second, on average, after [`Limits::body_grace`].
    pub body_rate: u64,
    /// Time for which a body may be slower than [`Limits::body_rate`].
    pub body_grace: Duration,
    /// Time of a whole request, from its head to its answer.
    pub request_time: Duration,
    /// Time for which a client may take nothing of its answer.
    pub write_time: Duration,
    /// Open connections.
    pub connections: usize,
    /// Open connections of one address.
    pub connections_per_address: usize,
    /// Texts and images of a request together.
    pub inputs: usize,
    /// Bytes of one text.
    pub text_bytes: usize,
    /// Bytes of one image file.
    pub image_bytes: usize,
    /// Pixels of one image.
    pub max_pixels: u64,
    /// Depth of a JSON document.
    pub json_depth: usize,
    /// Texts and images that were accepted and are not done.
    pub queue_items: usize,
    /// Bytes of bodies and of prepared inputs that are held at once.
    pub queue_bytes: u64,
    /// Estimated wait above which a request is refused.
    pub max_wait: Duration,
    /// Time that one batch of images may take, if it has more than one: what a text may have to wait.
    pub batch_time: Duration,
    /// Time to finish accepted requests when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 16 << 10,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            body_bytes: 20 << 20,
            body_rate: 1 << 10,
            body_grace: Duration::from_secs(5),
            request_time: Duration::from_secs(60),
            write_time: Duration::from_secs(30),
            connections: 1024,
            connections_per_address: 64,
            inputs: 256,
            text_bytes: 64 << 10,
            image_bytes: 10 << 20,
            max_pixels: DecodeLimits::default().max_pixels,
            json_depth: 32,
            queue_items: 1024,
            queue_bytes: 512 << 20,
            max_wait: Duration::from_secs(10),
            batch_time: Duration::from_millis(360),
            drain: Duration::from_secs(30),
        }
    }
}
