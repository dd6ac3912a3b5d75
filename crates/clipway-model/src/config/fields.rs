//! Members of a config object: every key known, every value of the right type and in range.

use std::ops::RangeInclusive;

use clipway_formats::{Code, FormatError, JsonCursor, shown};

use crate::nearest::nearest;

/// Options that users take for keys of a config, with what to do instead.
const ARGUMENTS: [(&str, &str); 10] = [
    ("use_naflex", NAFLEX),
    ("force_naflex_vision", NAFLEX),
    ("force_quick_gelu", "set `quick_gelu` at the top"),
    ("force_custom_text", "set `custom_text` at the top"),
    ("force_image_size", "set `vision_cfg.image_size`"),
    ("force_context_length", "set `text_cfg.context_length`"),
    ("force_patch_dropout", "remove it: only training drops patches"),
    ("precision", "remove it: the weights have their dtype"),
    ("pretrained", "remove it: the weights are given"),
    ("device", "remove it"),
];

/// What to do instead of asking for an image tower of any proportions.
const NAFLEX: &str = "remove it: the weights show whether the image tower was trained so";

/// An object with only known keys.
pub(super) struct Fields<'a> {
    at: JsonCursor<'a>,
}

impl<'a> Fields<'a> {
    /// Checks that `at` is an object with only known keys.
    pub(super) fn new(at: JsonCursor<'a>, known: &[&str]) -> Result<Fields<'a>, FormatError> {
        for (key, value) in at.members()? {
            if !known.contains(&key) {
                let argument = ARGUMENTS.iter().find(|(name, _)| *name == key);
                let cause = match (argument, nearest(key, known)) {
                    (Some((_, instead)), _) => format!(
                        "unknown key: an option of open_clip's training or `create_model`, not of a config; {instead}"
                    ),
                    (None, Some(name)) => format!("unknown key; the nearest known key is `{name}`"),
                    (None, None) => "unknown key".to_owned(),
                };
                return Err(value.error(Code::UnknownKey, cause));
            }
        }
        Ok(Fields { at })
    }

    /// The value of a key; `None` if missing or `null`.
    pub(super) fn value(&self, key: &str) -> Result<Option<JsonCursor<'a>>, FormatError> {
        Ok(self.at.get(key)?.filter(|value| !value.is_null()))
    }

    /// The value of a required key.
    pub(super) fn required(&self, key: &str) -> Result<JsonCursor<'a>, FormatError> {
        self.at.require(key)
    }

    /// The value of a key that may be missing but not `null`.
    pub(super) fn given(&self, key: &str) -> Result<Option<JsonCursor<'a>>, FormatError> {
        self.at.get(key)
    }

    /// Whether the object has the key, even if `null`.
    pub(super) fn has(&self, key: &str) -> Result<bool, FormatError> {
        Ok(self.at.get(key)?.is_some())
    }

    /// An integer in a range; `null` is refused.
    pub(super) fn integer(
        &self,
        key: &str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> Result<usize, FormatError> {
        match self.at.get(key)? {
            Some(value) => value.integer(*range.start(), *range.end()),
            None => Ok(default),
        }
    }

    /// A boolean.
    pub(super) fn boolean(&self, key: &str, default: bool) -> Result<bool, FormatError> {
        self.at.get(key)?.map_or(Ok(default), |value| value.boolean())
    }

    /// A number in a range; `null` is refused.
    pub(super) fn number(
        &self,
        key: &str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> Result<f64, FormatError> {
        match self.at.get(key)? {
            Some(value) => number_in(&value, range),
            None => Ok(default),
        }
    }

    /// A number, or `None` if missing or `null`.
    pub(super) fn optional_number(&self, key: &str) -> Result<Option<f64>, FormatError> {
        self.value(key)?.map(|value| value.number()).transpose()
    }

    /// A string, or `None` if missing or `null`.
    pub(super) fn optional_string(&self, key: &str) -> Result<Option<String>, FormatError> {
        self.value(key)?.map(|value| value.string().map(str::to_owned)).transpose()
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, key: &str, default: T, words: &[(&str, T)]) -> Result<T, FormatError> {
        self.at.get(key)?.map_or(Ok(default), |value| word(&value, words))
    }

    /// A side or two sides, height first; `None` if missing or `null`.
    pub(super) fn sides(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<[usize; 2]>, FormatError> {
        self.value(key)?.map(|value| sides(&value, range)).transpose()
    }

    /// The name of a model or tokenizer, `name` or `owner/name`; never a path outside the folder or an address.
    pub(super) fn model_name(&self, key: &str) -> Result<Option<String>, FormatError> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        let name = value.string()?;
        let part = |part: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !part.is_empty() && !part.starts_with('.') && !part.contains("..") && part.bytes().all(plain)
        };
        if name.len() > 200 || name.split('/').count() > 2 || !name.split('/').all(part) {
            let cause = format!("expected a model name such as `owner/name`, found `{}`", shown(name));
            return Err(value.error(Code::BadValue, cause));
        }
        Ok(Some(name.to_owned()))
    }
}

/// A number in a range.
pub(super) fn number_in(value: &JsonCursor<'_>, range: RangeInclusive<f64>) -> Result<f64, FormatError> {
    let number = value.number()?;
    if range.contains(&number) {
        return Ok(number);
    }
    let cause = format!("expected a number from {} to {}, found {number:?}", range.start(), range.end());
    Err(value.error(Code::BadValue, cause))
}

/// One of a few words.
pub(super) fn word<T: Copy>(value: &JsonCursor<'_>, words: &[(&str, T)]) -> Result<T, FormatError> {
    let found = value.string()?;
    words.iter().find(|(name, _)| *name == found).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<String> = words.iter().map(|(name, _)| format!("`{name}`")).collect();
        let cause = format!("expected one of {}, found `{}`", names.join(", "), shown(found));
        value.error(Code::BadValue, cause)
    })
}

/// A side or two sides, height first.
pub(super) fn sides(value: &JsonCursor<'_>, range: RangeInclusive<usize>) -> Result<[usize; 2], FormatError> {
    let (least, most) = (*range.start(), *range.end());
    let Ok(items) = value.items() else {
        return value.integer(least, most).map(|side| [side, side]);
    };
    if items.len() != 2 {
        let cause = format!("expected a side or [height, width], found an array of length {}", items.len());
        return Err(value.error(Code::BadValue, cause));
    }
    let mut sides = [0; 2];
    for (side, item) in sides.iter_mut().zip(items) {
        *side = item.integer(least, most)?;
    }
    Ok(sides)
}
