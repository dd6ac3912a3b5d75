//! Configs as JSON text, indented as in open_clip.

use clipway_formats::{Json, JsonValue, push_json_string};

/// A string as a value.
pub(super) fn string(text: &str) -> JsonValue {
    JsonValue::String(text.to_owned())
}

/// A number as a value.
pub(super) fn number(value: f64) -> JsonValue {
    JsonValue::Float(value)
}

/// An array of values.
pub(super) fn array<const N: usize>(items: [JsonValue; N]) -> JsonValue {
    JsonValue::Array(items.into_iter().map(|value| Json { offset: 0, value }).collect())
}

/// Writes a document with two spaces per level and a final newline.
pub(super) fn pretty(json: &Json) -> String {
    let mut out = String::new();
    write(&mut out, &json.value, 0);
    out.push('\n');
    out
}

fn write(out: &mut String, value: &JsonValue, level: usize) {
    match value {
        JsonValue::Null => out.push_str("null"),
        JsonValue::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        JsonValue::Unsigned(value) => out.push_str(&value.to_string()),
        JsonValue::Negative(value) => out.push_str(&value.to_string()),
        JsonValue::Float(value) => out.push_str(&format!("{value:?}")),
        JsonValue::String(value) => push_json_string(out, value),
        JsonValue::Array(items) => list(out, ['[', ']'], items, level, |out, item| {
            write(out, &item.value, level + 1);
        }),
        JsonValue::Object(members) => list(out, ['{', '}'], members, level, |out, (key, member)| {
            push_json_string(out, key);
            out.push_str(": ");
            write(out, &member.value, level + 1);
        }),
    }
}

fn list<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: &[T],
    level: usize,
    item: impl Fn(&mut String, &T),
) {
    out.push(open);
    for (index, one) in items.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(level + 1));
        item(out, one);
    }
    if !items.is_empty() {
        out.push('\n');
        out.push_str(&"  ".repeat(level));
    }
    out.push(close);
}
