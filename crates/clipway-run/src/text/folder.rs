//! A folder's tokenizer, read as the folder's library reads it.

use clipway_model::config::text_model::known;
use clipway_model::config::{TextConfig, TextPool, TokenizerSource};
use clipway_model::layout::Layout;
use clipway_model::source::ConfigOrigin;

use super::huggingface::{self, CONFIG, Reader, tiktoken};
use super::{
    Tokenizer, TokenizerError, TokenizerFiles, TokenizerKind, TokenizerMode, TokenizerRules,
    tokenizer_files_for_clip,
};

/// Which library's reading of texts to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextReading {
    /// open_clip's: its config names the tokenizer and how texts are cleaned first.
    #[default]
    OpenClip,
    /// transformers': the folder's files state everything.
    Transformers,
}

/// A tokenizer, with what a folder needs to read texts the same way.
#[derive(Debug)]
pub struct FolderTokenizer {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Its files by name; the `tokenizer.json` as it is run.
    pub files: Vec<(String, Vec<u8>)>,
    /// What a user should know.
    pub notes: Vec<String>,
    /// Whether the vocabulary is built in: the folder has none.
    pub is_built_in: bool,
}

impl TextReading {
    /// The library that a source's folder is for: its layout's, unless it contains open_clip's config.
    pub fn of(layout: &Layout, origin: &ConfigOrigin) -> TextReading {
        match origin {
            ConfigOrigin::Beside => TextReading::OpenClip,
            _ if layout.is_of_transformers() => TextReading::Transformers,
            _ => TextReading::OpenClip,
        }
    }
}

impl FolderTokenizer {
    /// Creates the tokenizer for stored rules from the files beside them.
    ///
    /// # Errors
    /// The errors of [`FolderTokenizer::read`], and a missing `tokenizer.json` that the rules need.
    pub fn by_rules(
        rules: TokenizerRules,
        text: &TextConfig,
        files: &[(String, Vec<u8>)],
    ) -> Result<FolderTokenizer, TokenizerError> {
        if let TokenizerKind::ClipBpe {} = rules.kind {
            return FolderTokenizer::clip(rules, text);
        }
        let json = TokenizerFiles::of(files).tokenizer;
        let tokenizer = Tokenizer::from_rules(rules, json)?;
        FolderTokenizer { tokenizer, files: carried(files), notes: Vec::new(), is_built_in: false }
            .checked(text)
    }

    /// Reads a model's tokenizer from the files of a folder; `None` if they contain none that matches the model.
    ///
    /// # Errors
    /// Malformed files, rules that cannot be followed, and a tokenizer that contradicts the model: ids beyond the
    /// embedding's rows, or an end token that pooling does not find.
    pub fn read(
        text: &TextConfig,
        reading: TextReading,
        files: &[(String, Vec<u8>)],
    ) -> Result<Option<FolderTokenizer>, TokenizerError> {
        let named = TokenizerFiles::of(files);
        let is_built_in = reading == TextReading::Transformers && !named.has_vocabulary();
        if is_built_in {
            // transformers reads CLIP's vocabulary by its own class, without open_clip's cleaning.
            if !fits_clip(text) || !may_be_clip(&named)? {
                return Ok(None);
            }
            let clip = clip_files(text.context_length);
            let own = carried(files);
            let missing = clip.into_iter().filter(|(name, _)| own.iter().all(|(own, _)| own != name));
            let whole: Vec<_> = own.iter().cloned().chain(missing).collect();
            let found = FolderTokenizer::read(text, reading, &whole)?;
            return Ok(found.map(|found| FolderTokenizer { is_built_in, ..found }));
        }
        let options = match (reading, text.tokenizer_source()) {
            (TextReading::Transformers, _) => None,
            (TextReading::OpenClip, TokenizerSource::Clip(rules)) => {
                return FolderTokenizer::clip(rules, text).map(Some);
            }
            (TextReading::OpenClip, TokenizerSource::HuggingFace { options, .. }) => Some(options),
            (TextReading::OpenClip, TokenizerSource::Tiktoken { config, context_length, clean }) => {
                let ranks = tiktoken::file_name(config.encoding);
                let ranks = files.iter().find(|(name, _)| *name == ranks).map(|(_, bytes)| bytes.as_slice());
                let found = tiktoken::read(config, context_length, clean, (&named, ranks))?;
                let Some((backend, rules)) = found else { return Ok(None) };
                let tokenizer = Tokenizer::from_json(&backend.bytes, rules)?;
                let files = vec![("tokenizer.json".to_owned(), backend.bytes.into_owned())];
                return FolderTokenizer { tokenizer, files, notes: Vec::new(), is_built_in: false }
                    .checked(text)
                    .map(Some);
            }
        };
        let reader = match &options {
            Some(options) => Reader::OpenClip(options),
            None => Reader::Transformers { context_length: text.context_length },
        };
        let Some((backend, rules)) = huggingface::read(&named, reader)? else { return Ok(None) };
        let tokenizer = Tokenizer::from_json(&backend.bytes, rules)?;
        let json = backend.bytes.into_owned();
        let mut kept = carried(files);
        kept.retain(|(name, _)| name != "tokenizer.json" && name != CONFIG);
        kept.push(("tokenizer.json".to_owned(), json));
        kept.push((CONFIG.to_owned(), huggingface::stated_config(&named, tokenizer.rules())?));
        let unstated = huggingface::assumes_right(&named)?;
        let notes = unstated.map(|class| {
            format!(
                "no file states a `padding_side`: texts are padded on the right, as models of CLIP's kind are trained, and not \
                 on the left, as transformers' `{class}` does where nothing is stated"
            )
        });
        let followed = huggingface::follows_file(&named)?.map(|class| {
            format!(
                "`tokenizer.json` is followed as it is: should transformers' `{class}` build another tokenizer of its \
                 vocabulary, texts differ"
            )
        });
        let notes = notes.into_iter().chain(followed).collect();
        FolderTokenizer { tokenizer, files: kept, notes, is_built_in: false }.checked(text).map(Some)
    }

    /// CLIP's own tokenizer, with open_clip's rules.
    fn clip(rules: TokenizerRules, text: &TextConfig) -> Result<FolderTokenizer, TokenizerError> {
        let files = clip_files(rules.context_length);
        let tokenizer = Tokenizer::from_rules(rules, None)?;
        FolderTokenizer { tokenizer, files, notes: Vec::new(), is_built_in: true }.checked(text)
    }

    /// The tokenizer, unless it contradicts the model.
    pub(crate) fn checked(self, text: &TextConfig) -> Result<FolderTokenizer, TokenizerError> {
        let problems = contradictions(&self.tokenizer, text);
        if problems.is_empty() { Ok(self) } else { Err(TokenizerError::Unfit { problems }) }
    }
}

/// The tokenizer files that an artifact carries along.
fn carried(files: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    files.iter().filter(|(name, _)| TokenizerFiles::NAMES.contains(&name.as_str())).cloned().collect()
}

/// The files of CLIP's own tokenizer.
fn clip_files(context_length: usize) -> Vec<(String, Vec<u8>)> {
    let files = tokenizer_files_for_clip(context_length).into_iter();
    files.map(|file| (file.name.to_owned(), file.bytes)).collect()
}

/// Whether the files of a folder without a whole vocabulary allow CLIP's own: no part of another one, and no other class.
fn may_be_clip(files: &TokenizerFiles) -> Result<bool, TokenizerError> {
    let has_part = files.vocabulary.is_some() || files.merges.is_some() || files.words.is_some();
    Ok(!has_part && huggingface::is_clip_class(files)?)
}

/// Number of embedding rows for CLIP's own tokenizer, and its end token.
const CLIP_ROWS: usize = 49408;
const CLIP_END: i64 = 49407;

/// Whether a transformers model was made for CLIP's own, built-in tokenizer.
fn fits_clip(text: &TextConfig) -> bool {
    let ends = match text.pool {
        TextPool::Argmax => true,
        TextPool::Eos => text.eos_id == CLIP_END,
        TextPool::First | TextPool::Last | TextPool::Mean | TextPool::Query | TextPool::None => false,
    };
    text.vocab_size == CLIP_ROWS && ends
}

/// All contradictions between a tokenizer and a model: ids without an embedding row, and an end of text that pooling
/// does not find.
fn contradictions(tokenizer: &Tokenizer, text: &TextConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let TokenizerKind::TokenizerJson(rules) = &tokenizer.rules().kind else {
        if text.hugging_face.is_none() && text.pool == TextPool::Eos && text.eos_id != CLIP_END {
            problems.push(ends_otherwise(text.eos_id, &[CLIP_END as u32]));
        }
        return problems;
    };
    let Some((highest, suffix)) = tokenizer.vocabulary() else { return problems };
    // A text model of transformers has the rows that its own config states.
    let rows = match &text.hugging_face {
        Some(tower) => known(&tower.model_name).map_or(usize::MAX, |model| model.vocab_size),
        None => text.vocab_size,
    };
    let around = match &rules.mode {
        TokenizerMode::Template { prefix, suffix } => {
            prefix.iter().chain(suffix).chain([&rules.pad_id]).max()
        }
        TokenizerMode::PostProcessor | TokenizerMode::Clips { .. } => None,
    };
    let id = highest.all.max(around.copied().unwrap_or_default());
    if id as usize >= rows {
        problems.push(format!("it has ids up to {id}, but the token embedding has only {rows} rows"));
    }
    if text.modern.is_some() && i64::from(rules.pad_id) != text.pad_id {
        problems.push(format!(
            "the model takes token {} for padding, but the tokenizer pads with token {}",
            text.pad_id, rules.pad_id
        ));
    }
    if text.hugging_face.is_some() || matches!(rules.mode, TokenizerMode::Clips { .. }) {
        return problems;
    }
    match text.pool {
        // Texts without an end are pooled at their last token.
        TextPool::Eos if text.modern.is_some() && suffix.is_empty() => {}
        TextPool::Argmax if suffix.iter().all(|id| *id < highest.own) => problems.push(format!(
            "the model uses the token with the highest id, but the tokenizer ends texts with {} and \
             other tokens have ids up to {}",
            shown(suffix),
            highest.own
        )),
        TextPool::Eos if !suffix.iter().any(|id| i64::from(*id) == text.eos_id) => {
            problems.push(ends_otherwise(text.eos_id, suffix));
        }
        TextPool::Last => problems.extend(rules.longest.map(|longest| {
            let context = text.context_length;
            format!("`model_max_length` is {longest}, but the model uses token {context}")
        })),
        _ => {}
    }
    problems
}

fn ends_otherwise(expected: i64, suffix: &[u32]) -> String {
    format!("the model uses the first token {expected}, but the tokenizer ends texts with {}", shown(suffix))
}

/// The tokens after a text, for messages.
fn shown(suffix: &[u32]) -> String {
    let ids: Vec<String> = suffix.iter().map(|id| format!("token {id}")).collect();
    if ids.is_empty() { "no token of its own".to_owned() } else { ids.join(" and ") }
}
