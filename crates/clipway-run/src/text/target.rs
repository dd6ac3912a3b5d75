//! A tokenizer as written into a folder for a library, and which texts that library reads differently.

use clipway_model::config::TextConfig;
use serde_json::{Map, Value, json};

use super::folder::{FolderTokenizer, TextReading};
use super::huggingface::{CONFIG, FILE};
use super::{
    Clean, TokenizerError, TokenizerFiles, TokenizerKind, TokenizerMode, TokenizerRules,
    tokenizer_json_for_clip,
};

/// The library that a folder is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextTarget {
    /// open_clip, which cleans texts before the folder's tokenizer reads them.
    OpenClip,
    /// transformers, which does not.
    Transformers,
    /// OpenAI's code, which uses CLIP's own tokenizer.
    OpenAi,
}

/// What a folder contains of a tokenizer, and what a user should know.
#[derive(Debug)]
pub struct WrittenTokenizer {
    /// Files by name.
    pub files: Vec<(String, Vec<u8>)>,
    /// The rules of `clipway.json`.
    pub rules: TokenizerRules,
    /// Texts that the library reads differently.
    pub notes: Vec<String>,
}

/// Texts on which libraries differ: quotes, references, ligatures, wide letters, damage, spaces, case, accents.
pub const EXAMPLES: [&str; 14] = [
    "the dog’s ball",
    "“red” — blue…",
    "salt &amp; pepper",
    "ﬁne ﬂour",
    "Ａｂｃ",
    "schÃ¶n",
    "a  cat",
    " a cat",
    "A Photo of a CAT.",
    "it's a t-shirt, size 3.5!",
    "snake_case",
    "cafe\u{301}",
    "ΟΔΥΣΣΕΥΣ",
    "two dogs",
];

/// A text that every tokenizer with CLIP's vocabulary reads the same way.
const PLAIN: &str = "two dogs run over the wet grass";

/// Maximum number of examples in a note.
const MOST: usize = 4;

impl TextTarget {
    /// The library of a layout, given by the name that artifacts use.
    pub fn of(layout: &str) -> TextTarget {
        match layout {
            "transformers" | "onnx-transformers" => TextTarget::Transformers,
            "openai" => TextTarget::OpenAi,
            _ => TextTarget::OpenClip,
        }
    }

    fn title(self) -> &'static str {
        match self {
            TextTarget::OpenClip => "open_clip 3.3.0",
            TextTarget::Transformers => "transformers",
            TextTarget::OpenAi => "OpenAI's code",
        }
    }
}

impl FolderTokenizer {
    /// The tokenizer for a folder of a library. Cleaning that the library does not do itself becomes part of the
    /// tokenizer's files, as far as they can express it; texts that it still reads differently are noted.
    ///
    /// # Errors
    /// Rules that the library cannot follow, such as a replaced separator.
    pub fn written_for(
        self,
        target: TextTarget,
        text: &TextConfig,
    ) -> Result<WrittenTokenizer, TokenizerError> {
        let own = self.tokenizer.rules().clone();
        let (files, reading) = match target {
            TextTarget::OpenClip => (self.files.clone(), TextReading::OpenClip),
            TextTarget::Transformers => (transformers_files(&self.files, &own)?, TextReading::Transformers),
            TextTarget::OpenAi => {
                let clip = TokenizerRules::clip(own.context_length, Clean::Lower);
                let theirs = FolderTokenizer::by_rules(clip, text, &[])?;
                if self.tokenizer.encode(PLAIN)?.tokens() != theirs.tokenizer.encode(PLAIN)?.tokens() {
                    let cause =
                        "OpenAI's code uses CLIP's own tokenizer, but this one has another vocabulary";
                    return Err(TokenizerError::rule("hf_tokenizer_name", cause));
                }
                let notes = self.note(&theirs, target)?;
                let rules = theirs.tokenizer.rules().clone();
                return Ok(WrittenTokenizer { files: theirs.files, rules, notes });
            }
        };
        match FolderTokenizer::read(text, reading, &files) {
            Ok(Some(theirs)) => {
                let notes = self.note(&theirs, target)?;
                // How open_clip reads texts is that library's business; clipway reads the folder like its source.
                let rules =
                    if target == TextTarget::OpenClip { own } else { theirs.tokenizer.rules().clone() };
                Ok(WrittenTokenizer { files, rules, notes })
            }
            Ok(None) if target == TextTarget::OpenClip => {
                let note = "open_clip 3.3.0 cannot tokenize with this folder: its config names no tokenizer in the folder";
                Ok(WrittenTokenizer { files, rules: own, notes: vec![note.to_owned()] })
            }
            Err(error) if target == TextTarget::OpenClip => {
                let note = format!("open_clip 3.3.0 cannot tokenize with this folder: {error}");
                Ok(WrittenTokenizer { files, rules: own, notes: vec![note] })
            }
            Ok(None) => Err(TokenizerError::file(FILE, "file", "it is missing")),
            Err(error) => Err(error),
        }
    }

    /// The texts that another tokenizer reads differently, if any.
    fn note(&self, other: &FolderTokenizer, target: TextTarget) -> Result<Vec<String>, TokenizerError> {
        let mut differ = Vec::new();
        for text in EXAMPLES {
            let (ours, theirs) = (self.tokenizer.encode(text)?, other.tokenizer.encode(text)?);
            if ours.tokens() != theirs.tokens() {
                differ.push(format!("`{text}`"));
            }
        }
        if differ.is_empty() {
            return Ok(Vec::new());
        }
        let count = differ.len();
        differ.truncate(MOST);
        let more = if count > MOST { ", …" } else { "" };
        Ok(vec![format!(
            "{} reads some texts differently from the source's library: {count} of {} examples give other token ids, \
             {}{more}",
            target.title(),
            EXAMPLES.len(),
            differ.join(", ")
        )])
    }
}

/// The files with which transformers follows these rules.
fn transformers_files(
    files: &[(String, Vec<u8>)],
    rules: &TokenizerRules,
) -> Result<Vec<(String, Vec<u8>)>, TokenizerError> {
    let named = TokenizerFiles::of(files);
    let is_clip = matches!(rules.kind, TokenizerKind::ClipBpe {});
    match rules.clean {
        Clean::Nothing | Clean::Siglip => return Ok(files.to_vec()),
        // The class of these files lower-cases and collapses whitespace itself.
        Clean::Lower if is_clip => return Ok(files.to_vec()),
        Clean::Lower | Clean::Whitespace | Clean::Canonicalize | Clean::WhitespaceUnderscore => {}
    }
    if let TokenizerKind::TokenizerJson(json) = &rules.kind {
        if json.stripped_id.is_some() {
            return Err(TokenizerError::rule("strip_sep_token", "transformers does not replace separators"));
        }
        if json.mode != TokenizerMode::PostProcessor {
            return Err(TokenizerError::rule(
                "tokenizer_mode",
                "transformers adds only the post-processor's tokens",
            ));
        }
    }
    let source =
        if is_clip { tokenizer_json_for_clip() } else { named.tokenizer.unwrap_or_default().to_vec() };
    let fault = |error: serde_json::Error| TokenizerError::file(FILE, "top level", error.to_string());
    let mut file: Value = serde_json::from_slice(&source).map_err(fault)?;
    let mut steps = cleaning(rules.clean);
    if !is_clip {
        steps.extend(file.get("normalizer").filter(|own| !own.is_null()).cloned());
    }
    file["normalizer"] = json!({ "type": "Sequence", "normalizers": steps });
    let mut config: Map<String, Value> = match named.config {
        Some(bytes) => serde_json::from_slice(bytes).map_err(fault)?,
        None => Map::new(),
    };
    // The only class that uses the normalizer of the file.
    config.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
    config.insert("model_max_length".to_owned(), rules.context_length.into());
    config.remove("do_lower_case");
    let mut written: Vec<(String, Vec<u8>)> = vec![
        (FILE.to_owned(), file.to_string().into_bytes()),
        (CONFIG.to_owned(), format!("{:#}\n", Value::Object(config)).into_bytes()),
    ];
    let kept = files.iter().filter(|(name, _)| name == "special_tokens_map.json");
    written.extend(kept.cloned());
    Ok(written)
}

/// open_clip's cleaning as steps of a normalizer, except for the repair of damaged text and HTML references.
fn cleaning(clean: Clean) -> Vec<Value> {
    let replace =
        |pattern: Value, content: &str| json!({ "type": "Replace", "pattern": pattern, "content": content });
    let mut steps = vec![
        json!({ "type": "NFC" }),
        replace(json!({ "Regex": "[\u{2bc}\u{2018}-\u{201b}]" }), "'"),
        replace(json!({ "Regex": "[\u{201c}-\u{201f}]" }), "\""),
    ];
    for (ligature, letters) in
        [("ﬀ", "ff"), ("ﬁ", "fi"), ("ﬂ", "fl"), ("ﬃ", "ffi"), ("ﬄ", "ffl"), ("ﬅ", "ſt"), ("ﬆ", "st")]
    {
        steps.push(replace(json!({ "String": ligature }), letters));
    }
    if matches!(clean, Clean::Canonicalize | Clean::WhitespaceUnderscore) {
        steps.push(replace(json!({ "String": "_" }), " "));
    }
    if clean == Clean::Canonicalize {
        steps.push(replace(json!({ "Regex": r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^`{|}~]"## }), ""));
    }
    if !matches!(clean, Clean::Whitespace | Clean::WhitespaceUnderscore) {
        steps.push(json!({ "type": "Lowercase" }));
    }
    steps.push(replace(json!({ "Regex": r"\s+" }), " "));
    steps.push(json!({ "type": "Strip", "strip_left": true, "strip_right": true }));
    steps
}
