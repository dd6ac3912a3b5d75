//! Strict JSON against serde_json: whatever the strict parser accepts, serde_json reads with the same values.
#![no_main]

use clipway_formats::{Json, JsonLimits, JsonValue};
use clipway_fuzz::{bounded, check_message};
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let json = match bounded(input.len(), || Json::parse(input, JsonLimits::CONFIG)) {
        Ok(json) => json,
        Err(error) => return check_message(&error),
    };
    assert_eq!(Json::parse(input, JsonLimits::CONFIG).as_ref(), Ok(&json));
    let text = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let theirs: Value = serde_json::from_slice(text).expect("serde_json is no stricter");
    assert!(same(&json.value, &theirs), "{json:?} and {theirs:?}");
});

/// The parser bounds the depth.
fn same(ours: &JsonValue, theirs: &Value) -> bool {
    match (ours, theirs) {
        (JsonValue::Null, Value::Null) => true,
        (JsonValue::Bool(ours), Value::Bool(theirs)) => ours == theirs,
        (JsonValue::Unsigned(ours), Value::Number(theirs)) => theirs.as_u64() == Some(*ours),
        // serde_json reads `-0` as a float.
        (JsonValue::Negative(ours), Value::Number(theirs)) => {
            theirs.as_i64() == Some(*ours) || (*ours == 0 && theirs.as_f64() == Some(0.0))
        }
        (JsonValue::Float(ours), Value::Number(theirs)) => theirs.as_f64() == Some(*ours),
        (JsonValue::String(ours), Value::String(theirs)) => ours == theirs,
        (JsonValue::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same(&ours.value, theirs))
        }
        (JsonValue::Object(ours), Value::Object(theirs)) => {
            let pair = |((key, value), (name, other)): (&(String, Json), (&String, &Value))| {
                key == name && same(&value.value, other)
            };
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(pair)
        }
        _ => false,
    }
}
