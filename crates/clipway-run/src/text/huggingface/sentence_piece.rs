//! SentencePiece unigram models (`spiece.model`), such as SigLIP's, read from their protocol buffer.
//!
//! The fields are defined by `sentencepiece_model.proto` of <https://github.com/google/sentencepiece>.

use std::collections::{BTreeSet, HashMap};

use clipway_formats::{base64, shown};
use serde_json::{Map, Value, json};

use super::added;
use super::class::Backend;
use super::files::{CONFIG, TokenizerFiles, settings};
use super::vocabulary::HIGHEST_ID;
use crate::text::TokenizerError;
use crate::text::characters::lowercase;

/// The file's name in errors.
const FILE: &str = "spiece.model";

/// A piece that never occurs in texts, whatever its spelling.
const UNUSED: u64 = 5;

/// The only supported kind of model.
const UNIGRAM: u64 = 1;

/// The `tokenizer.json` of transformers' `SiglipTokenizer`, without its cleaning of texts.
///
/// # Errors
/// [`TokenizerError::File`] for a malformed model, or one that is not a unigram model.
pub fn siglip(files: &TokenizerFiles) -> Result<Backend<'static>, TokenizerError> {
    let model = Model::parse(files.sentence_piece.unwrap_or_default())?;
    let settings = settings(files)?;
    if settings.get("do_lower_case").is_some_and(|lower| *lower == Value::Bool(false)) {
        let cause = "false; this class supports only lower-cased texts";
        return Err(TokenizerError::file(CONFIG, "do_lower_case", cause));
    }
    let added = split_tokens(files, &settings, &model)?;
    let end = added::named(files, "eos_token", "</s>")?;
    let Some(end_id) = model.pieces.iter().position(|(piece, _)| *piece == end) else {
        return Err(TokenizerError::file(FILE, "pieces", format!("the end token `{end}` is missing")));
    };
    let mut normalizers = Vec::new();
    if !model.charsmap.is_empty() {
        normalizers.push(json!({ "type": "Precompiled", "precompiled_charsmap": base64(&model.charsmap) }));
    }
    if model.removes_spaces {
        normalizers.push(replace(json!({ "Regex": " +" }), " "));
    }
    normalizers.push(replace(json!({ "String": " " }), "▁"));
    if model.removes_spaces {
        normalizers.push(replace(json!({ "Regex": "▁+$" }), ""));
    }
    let pieces: Vec<Value> = model.pieces.iter().map(|(piece, score)| json!([piece, score])).collect();
    let value = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": end, "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
            "special_tokens": { end.clone(): { "id": end, "ids": [end_id], "tokens": [end] } },
        },
        "decoder": null,
        "model": {
            "type": "Unigram", "unk_id": model.unknown, "vocab": pieces, "byte_fallback": model.byte_fallback,
        },
    });
    Ok(Backend { bytes: value.to_string().into_bytes().into(), value })
}

/// The tokens at which texts are split before they are cleaned: all special ones, and those listed by the configuration.
fn split_tokens(
    files: &TokenizerFiles,
    settings: &Map<String, Value>,
    model: &Model,
) -> Result<Vec<Value>, TokenizerError> {
    let unknown = added::named(files, "unk_token", "<unk>")?;
    let place = usize::try_from(model.unknown).ok();
    if place.and_then(|place| model.pieces.get(place)).is_none_or(|(piece, _)| *piece != unknown) {
        let cause = format!("`{}` is not the unknown piece of `{FILE}`", shown(&unknown));
        return Err(TokenizerError::file(CONFIG, "unk_token", cause));
    }
    let mut ids = HashMap::new();
    for (id, (piece, _)) in model.pieces.iter().enumerate() {
        ids.entry(piece.as_str()).or_insert(id);
    }
    let mut contents = BTreeSet::new();
    let listed = settings.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten();
    for (id, token) in listed.filter_map(|(id, token)| Some((id, token.as_object()?))) {
        let flag = |name: &str| token.get(name).and_then(Value::as_bool).unwrap_or(false);
        let content = token.get("content").and_then(Value::as_str).unwrap_or_default();
        if flag("single_word") {
            let cause =
                format!("`{}` has `single_word`, which is not supported with `{FILE}`", shown(content));
            return Err(TokenizerError::file(CONFIG, "added_tokens_decoder", cause));
        }
        // transformers looks for such a token in lower case.
        let is_lowered =
            !flag("special") && token.get("normalized").is_none_or(|flag| *flag == Value::Bool(true));
        let content = if is_lowered { lowercase(content) } else { content.to_owned() };
        // transformers takes the stated id, whatever the piece's own is.
        if let Some(own) = ids.get(content.as_str()).filter(|own| own.to_string() != *id) {
            let cause =
                format!("`{}` has id {id}, but piece {own} of `{FILE}` is spelled so", shown(&content));
            return Err(TokenizerError::file(CONFIG, "added_tokens_decoder", cause));
        }
        contents.insert(content);
    }
    contents.extend(added::special(settings));
    let defaults = [("eos_token", "</s>"), ("pad_token", "</s>"), ("unk_token", "<unk>")];
    let missing = defaults.iter().filter(|(name, _)| settings.get(*name).is_none());
    contents.extend(missing.map(|(_, token)| (*token).to_owned()));
    contents.remove("");
    let token = |content: String| {
        let id = ids.get(content.as_str()).ok_or_else(|| {
            let cause = format!(
                "`{}` is not a piece of `{FILE}`, and tokens beside it are not supported",
                shown(&content)
            );
            TokenizerError::file(CONFIG, "special tokens", cause)
        })?;
        Ok(json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        }))
    };
    contents.into_iter().map(token).collect()
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({ "type": "Replace", "pattern": pattern, "content": content })
}

/// What encoding uses from a model.
struct Model {
    /// Pieces and their scores.
    pieces: Vec<(String, f32)>,
    unknown: u64,
    byte_fallback: bool,
    charsmap: Vec<u8>,
    removes_spaces: bool,
}

impl Model {
    fn parse(bytes: &[u8]) -> Result<Model, TokenizerError> {
        let mut model = Model {
            pieces: Vec::new(),
            unknown: 0,
            byte_fallback: false,
            charsmap: Vec::new(),
            removes_spaces: true,
        };
        let mut kind = UNIGRAM;
        for field in Fields(bytes) {
            match field? {
                (1, Wire::Bytes(piece)) => model.piece(piece)?,
                (2, Wire::Bytes(trainer)) => {
                    for field in Fields(trainer) {
                        match field? {
                            (3, Wire::Number(value)) => kind = value,
                            (35, Wire::Number(value)) => model.byte_fallback = value != 0,
                            (40, Wire::Number(value)) => model.unknown = value,
                            _ => {}
                        }
                    }
                }
                (3, Wire::Bytes(normalizer)) => {
                    for field in Fields(normalizer) {
                        match field? {
                            (2, Wire::Bytes(charsmap)) => model.charsmap = charsmap.to_vec(),
                            (4, Wire::Number(value)) => model.removes_spaces = value != 0,
                            (5, Wire::Number(0)) => return Err(fault("spaces are not escaped")),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if kind != UNIGRAM {
            return Err(fault("not a unigram model; convert it to a `tokenizer.json`"));
        }
        match model.pieces.is_empty() {
            true => Err(fault("it contains no pieces")),
            false => Ok(model),
        }
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<(), TokenizerError> {
        let (mut text, mut score, mut kind) = (String::new(), 0.0, 1);
        for field in Fields(bytes) {
            match field? {
                (1, Wire::Bytes(piece)) => {
                    let piece = std::str::from_utf8(piece).map_err(|_| fault("a piece is not UTF-8"))?;
                    piece.clone_into(&mut text);
                }
                (2, Wire::Word(bits)) => score = f32::from_bits(bits),
                (3, Wire::Number(value)) => kind = value,
                _ => {}
            }
        }
        if self.pieces.len() as u64 >= HIGHEST_ID {
            return Err(fault("it contains too many pieces"));
        }
        if kind == UNUSED {
            text = format!("\0unused {}", self.pieces.len());
        }
        self.pieces.push((text, score));
        Ok(())
    }
}

fn fault(cause: &str) -> TokenizerError {
    TokenizerError::file(FILE, "SentencePiece model", cause)
}

/// A value of a protocol buffer.
pub enum Wire<'a> {
    /// A number of variable length.
    Number(u64),
    /// Four bytes.
    Word(u32),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
    /// Eight bytes.
    Double(u64),
}

/// The fields of a message, with their numbers.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..10 {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Wire::Number(self.number()?),
            1 => Wire::Double(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = self.number()?;
                Wire::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => Wire::Word(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), TokenizerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| fault("it is truncated or not a protocol buffer")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_messages_are_refused() {
        // A piece `ab` with score 1.5, then a field whose length reaches beyond the end.
        let piece = [10, 9, 10, 2, b'a', b'b', 21, 0, 0, 0xc0, 0x3f];
        let model = Model::parse(&piece).unwrap();
        assert_eq!(model.pieces, [("ab".to_owned(), 1.5)]);
        for damaged in
            [&piece[..5], &[10, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &[0xff; 12], &[15], &[18, 2, 24, 2]]
        {
            assert!(Model::parse(damaged).is_err(), "{damaged:?}");
        }
        let pairs = [&piece[..], &[18, 2, 24, 2]].concat();
        assert!(Model::parse(&pairs).is_err_and(|error| error.to_string().contains("unigram")));
    }
}
