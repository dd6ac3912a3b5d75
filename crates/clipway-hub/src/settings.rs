//! What the environment says about the Hub.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::HubError;
use crate::cache::files;

/// A token. It has no `Display`, and its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token; `None` for one that is empty.
    ///
    /// # Errors
    /// [`HubError::TokenFormat`] for one that cannot stand in a header.
    pub fn new(text: &str) -> Result<Option<Token>, HubError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        match text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Some(Token(text.to_owned()))),
            false => Err(HubError::TokenFormat),
        }
    }

    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether a text contains the token.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        text.contains(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// How to reach the Hub, and where files are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Hub's address, without a final slash.
    pub endpoint: String,
    /// The folder that holds `models--owner--name` folders.
    pub cache: PathBuf,
    /// The token, if any.
    pub token: Option<Token>,
    /// Whether to use only what is in the cache.
    pub offline: bool,
    /// Longest time without a byte.
    pub timeout: Duration,
    /// First pause before another attempt; each further one is twice as long, up to 8 times this.
    pub pause: Duration,
    /// How long a second is that a server asks to wait; tests make it shorter.
    pub second: Duration,
    /// Name and version of the program, for the server.
    pub agent: String,
}

impl Settings {
    /// Reads the variables of the reference client: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`,
    /// `HF_TOKEN_PATH`, `HF_HUB_DISABLE_IMPLICIT_TOKEN`, `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT` and older names.
    /// `variable` looks one up.
    ///
    /// # Errors
    /// A token or an address that cannot be used, and a token file that cannot be read.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Settings, HubError> {
        let said = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| said(name).and_then(|value| value.into_string().ok());
        let is_on = |name: &str| {
            text(name)
                .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
        };
        let path = |name: &str| said(name).map(|value| expanded(value, &said));
        let user = said("HOME").or_else(|| said("USERPROFILE")).map(PathBuf::from);
        let home = path("HF_HOME")
            .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| user.map(|user| user.join(".cache/huggingface")));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| home.as_ref().map(|home| home.join("hub")))
            .ok_or(HubError::NoCache)?;
        let said_token = match text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")) {
            Some(token) => Token::new(&token)?,
            None => None,
        };
        let file = path("HF_TOKEN_PATH").or_else(|| home.map(|home| home.join("token")));
        let token = match (said_token, file) {
            (Some(token), _) => Some(token),
            (None, Some(file)) => files::read_small(&file, 64 << 10)?
                .map(|bytes| Token::new(&String::from_utf8_lossy(&bytes)))
                .transpose()?
                .flatten(),
            (None, None) => None,
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let seconds = text("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.parse().ok()).unwrap_or(10);
        Ok(Settings {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache,
            token: token.filter(|_| !is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN")),
            offline: is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
            timeout: Duration::from_secs(seconds).clamp(Duration::from_secs(1), Duration::from_secs(600)),
            pause: Duration::from_secs(1),
            second: Duration::from_secs(1),
            agent: concat!("clipway/", env!("CARGO_PKG_VERSION")).to_owned(),
        })
    }
}

/// Expands a leading `~` and `$NAME` or `${NAME}` as the reference client does; unknown names stay.
fn expanded(value: OsString, said: &impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let Some(text) = value.to_str().filter(|text| text.contains(['~', '$'])) else {
        return PathBuf::from(value);
    };
    let mut out = String::new();
    let mut rest = text;
    if let (Some(after), Some(home)) =
        (text.strip_prefix('~'), said("HOME").and_then(|home| home.into_string().ok()))
        && (after.is_empty() || after.starts_with('/'))
    {
        out.push_str(&home);
        rest = after;
    }
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let is_braced = after.starts_with('{');
        let body = after.strip_prefix('{').unwrap_or(after);
        let end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(body.len());
        let used = end + usize::from(is_braced) * 2;
        let is_closed = !is_braced || body[end..].starts_with('}');
        match said(&body[..end]).and_then(|value| value.into_string().ok()).filter(|_| is_closed && end > 0) {
            Some(value) => {
                out.push_str(&value);
                rest = &after[used..];
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    PathBuf::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Settings {
        Settings::read(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.into())).unwrap()
    }

    #[test]
    fn places_follow_the_environment() {
        let cache = |pairs: &[(&str, &str)]| read(pairs).cache;
        assert_eq!(cache(&[("HOME", "/h")]), PathBuf::from("/h/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), PathBuf::from("/x/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "~/hf")]), PathBuf::from("/h/hf/hub"));
        assert_eq!(cache(&[("HF_HUB_CACHE", "${A}/$B/c$"), ("A", "/a")]), PathBuf::from("/a/$B/c$"));
        assert!(matches!(Settings::read(|_| None), Err(HubError::NoCache)));
    }

    #[test]
    fn tokens_are_found_and_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(read(&[("HF_HOME", home)]).token, None);
        write(&folder.path().join("token"), " hf_file\n");
        assert_eq!(read(&[("HF_HOME", home)]).token, Some(Token("hf_file".into())));
        let said = read(&[("HF_HOME", home), ("HF_TOKEN", "hf_said")]);
        assert_eq!(said.token, Some(Token("hf_said".into())));
        assert!(!format!("{said:?}").contains("hf_said"));
        assert_eq!(read(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).token, None);
        assert!(matches!(Token::new("a\nb"), Err(HubError::TokenFormat)));
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    fn write(path: &std::path::Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn offline_and_endpoint() {
        let settings =
            read(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "yes"), ("HF_ENDPOINT", "http://127.0.0.1:9/")]);
        assert!(settings.offline);
        assert_eq!(settings.endpoint, "http://127.0.0.1:9");
        assert!(!read(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "0")]).offline);
    }
}
