//! The page for browsers, in one file, and the description of the API.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const HTML: &str = include_str!("page.html");
const STYLE: &str = concat!(include_str!("page.css"), include_str!("search.css"));
const SCRIPT: &str = concat!(include_str!("page.js"), include_str!("search.js"));
const OPENAPI: &str = include_str!("openapi.json");

/// What is served as it is.
pub(crate) struct Page {
    /// The page, with its style and its script inside.
    pub html: String,
    /// Its `Content-Security-Policy`: no style and no script but these two.
    pub policy: String,
    /// The description of the API.
    pub openapi: String,
}

impl Page {
    /// The page, which asks the server for the name of its model.
    pub fn new() -> Page {
        let html = HTML.replace("{{style}}", STYLE).replace("{{script}}", SCRIPT);
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
        let policy = format!(
            "default-src 'none'; img-src 'self' blob: data:; style-src 'sha256-{}'; script-src 'sha256-{}'; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        let openapi = OPENAPI.replace("{{version}}", env!("CARGO_PKG_VERSION"));
        Page { html, policy, openapi }
    }
}
