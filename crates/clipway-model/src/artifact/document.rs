//! `clipway.json` as text: written with a digest of its own contents, and read strictly.

use clipway_formats::{Code, FormatError, Json, JsonLimits, JsonValue, Place, shown};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{ARTIFACT_VERSION, Artifact, hex};
use crate::input::Kind;

/// Key of the digest: SHA-256 of the rest of the document as JSON with sorted keys and no whitespace.
const DIGEST: &str = "digest";

/// Size limit for the file: about ten times what the largest registered model needs.
const LIMITS: JsonLimits = JsonLimits {
    bytes: Kind::Artifact.default_limit() as usize,
    depth: 64,
    values: 400_000,
    byte_order_mark: false,
};

impl Artifact {
    /// The artifact as JSON text.
    pub fn to_json(&self) -> String {
        let mut facts = self.facts();
        let digest = digest(facts.clone());
        facts.insert(DIGEST.to_owned(), Value::String(digest));
        let mut text =
            serde_json::to_string_pretty(&facts).expect("strings as keys and no custom serializers fail");
        text.push('\n');
        text
    }

    fn facts(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(facts)) => facts,
            _ => unreachable!("a structure with strings as keys is a JSON object"),
        }
    }

    /// Parses the bytes of a `clipway.json`.
    ///
    /// # Errors
    /// JSON that is malformed, has a duplicate or unknown key, has another structure or version, or does not match its
    /// own digest.
    pub fn parse(bytes: &[u8]) -> Result<Artifact, FormatError> {
        let refuse = |code, key: &str, cause: String| {
            let place = if key.is_empty() { "$".to_owned() } else { format!("$.{key}") };
            FormatError::new(code, Place::Json(place), cause)
        };
        let Value::Object(mut facts) = to_value(Json::parse(bytes, LIMITS)?) else {
            return Err(refuse(Code::Malformed, "", "expected an object".to_owned()));
        };
        match facts.get("artifact_version").and_then(Value::as_u64) {
            Some(version) if version != u64::from(ARTIFACT_VERSION) => {
                let cause = format!("version {version}; this version of clipway reads {ARTIFACT_VERSION}");
                return Err(refuse(Code::Unsupported, "artifact_version", cause));
            }
            _ => {}
        }
        let stated = facts.shift_remove(DIGEST);
        let artifact: Artifact = serde_json::from_value(Value::Object(facts)).map_err(|error| {
            let text = error.to_string();
            let code = if text.starts_with("unknown field") { Code::UnknownKey } else { Code::Malformed };
            // Quotes of another kind than `shown` uses, which escapes its own.
            refuse(code, "", shown(&text.replace('`', "'")))
        })?;
        match stated {
            Some(Value::String(stated)) if stated == digest(artifact.facts()) => Ok(artifact),
            Some(_) => {
                let cause = "the document was changed: it does not match its digest";
                Err(refuse(Code::Checksum, DIGEST, cause.to_owned()))
            }
            None => Err(refuse(Code::Missing, DIGEST, "the digest is missing".to_owned())),
        }
    }
}

fn digest(facts: Map<String, Value>) -> String {
    let mut facts = Value::Object(facts);
    facts.sort_all_objects();
    let text = serde_json::to_vec(&facts).expect("strings as keys and no custom serializers fail");
    hex(Sha256::new_with_prefix(text))
}

/// Deserializes the same document with `serde`.
fn to_value(json: Json) -> Value {
    match json.value {
        JsonValue::Null => Value::Null,
        JsonValue::Bool(value) => Value::Bool(value),
        JsonValue::Unsigned(value) => value.into(),
        JsonValue::Negative(value) => value.into(),
        JsonValue::Float(value) => value.into(),
        JsonValue::String(value) => Value::String(value),
        JsonValue::Array(items) => Value::Array(items.into_iter().map(to_value).collect()),
        JsonValue::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, to_value(value))).collect())
        }
    }
}
