//! The rules that turn images into pixels and texts into tokens, as far as they decide features.

use clipway_formats::shown;
use clipway_model::artifact::FileHash;
use clipway_model::config::{Interpolation, PixelRule, PreprocessConfig, ResizeMode};
use serde::{Deserialize, Serialize};

use crate::text::{EXAMPLES, Tokenizer, TokenizerError};
use crate::verify::probes;

/// How images become pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelRules {
    /// Height and width, in pixels.
    pub size: [usize; 2],
    /// By whose rule. Under a rule of transformers the fields below are the nearest settings of open_clip.
    pub rule: PixelRule,
    /// Mean of each channel, of values from 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// Interpolation of the resize.
    pub interpolation: Interpolation,
    /// Resize mode.
    pub resize_mode: ResizeMode,
    /// Padding value, from 0 to 255, where the resize pads.
    pub fill_color: u8,
    /// Whether open_clip's rule with these settings differs from `rule` only in rounding.
    pub is_open_clip: bool,
}

impl PixelRules {
    /// The rules of a config.
    pub fn of(config: &PreprocessConfig) -> PixelRules {
        let interpolation = match config.interpolation {
            Interpolation::Random => Interpolation::Bicubic,
            other => other,
        };
        let pads = config.resize_mode == ResizeMode::Longest;
        PixelRules {
            size: config.size,
            rule: config.rule.clone(),
            mean: config.mean.map(|value| value as f32),
            std: config.std.map(|value| value as f32),
            interpolation,
            resize_mode: config.resize_mode,
            fill_color: if pads { config.fill_color } else { 0 },
            is_open_clip: config.open_clip_differences().is_empty(),
        }
    }

    /// What differs, one phrase each; empty if at most rounding does.
    pub fn differences(&self, other: &PixelRules) -> Vec<String> {
        if self == other {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut differ = |what: &str, [one, two]: [String; 2]| {
            if one != two {
                found.push(format!("{what}: {one} against {two}"));
            }
        };
        let both = [self, other];
        differ("image size", both.map(|rules| format!("{}x{}", rules.size[0], rules.size[1])));
        if !(self.is_open_clip && other.is_open_clip) && self.rule != other.rule {
            differ("rule of images", both.map(|rules| format!("that of {}", rules.rule)));
            if self.rule.to_string() == other.rule.to_string() {
                found.push("rule of images: other steps of the same library".to_owned());
            }
            return found;
        }
        differ("mean", both.map(|rules| format!("{:?}", rules.mean)));
        differ("standard deviation", both.map(|rules| format!("{:?}", rules.std)));
        differ("interpolation", both.map(|rules| rules.interpolation.name().to_owned()));
        differ("resize mode", both.map(|rules| rules.resize_mode.name().to_owned()));
        differ("fill color", both.map(|rules| rules.fill_color.to_string()));
        found
    }
}

/// A text longer than any context, so that truncation shows.
const LONG: usize = 400;

/// Hexadecimal digits kept of the hash of a text's ids.
const HASH_DIGITS: usize = 8;

/// Most texts that a difference names.
const NAMED: usize = 2;

/// How texts become tokens: what it does to fixed texts, so that two ways of writing the same rules are the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRules {
    /// Maximum number of tokens in a text.
    pub context_length: usize,
    /// How a text is cleaned, and what tokenizes it; for people.
    pub title: String,
    /// The beginning of the SHA-256 of the token ids, padding aside, of each of the fixed texts.
    pub ids: Vec<String>,
}

impl TokenRules {
    /// Runs a tokenizer on the fixed texts.
    ///
    /// # Errors
    /// A text that it refuses.
    pub fn of(tokenizer: &Tokenizer) -> Result<TokenRules, TokenizerError> {
        let rules = tokenizer.rules();
        let ids = texts().into_iter().map(|text| {
            let encoded = tokenizer.encode(&text)?;
            // The side of the padding moves the tokens.
            let before = encoded.ids.len() - encoded.tokens().len();
            let is_left = before > 0 && encoded.ids.ends_with(encoded.tokens());
            let mut bytes = vec![u8::from(is_left)];
            encoded.tokens().iter().for_each(|id| bytes.extend(id.to_le_bytes()));
            let mut hash = FileHash::of(&bytes).sha256;
            hash.truncate(HASH_DIGITS);
            Ok(hash)
        });
        let kind = match rules.kind {
            crate::text::TokenizerKind::ClipBpe {} => "CLIP's tokenizer",
            crate::text::TokenizerKind::TokenizerJson(_) => "`tokenizer.json`",
        };
        Ok(TokenRules {
            context_length: rules.context_length,
            title: format!("{kind}, cleaning `{}`", rules.clean.name()),
            ids: ids.collect::<Result<_, TokenizerError>>()?,
        })
    }

    /// What differs, one phrase each.
    pub fn differences(&self, other: &TokenRules) -> Vec<String> {
        let mut found = Vec::new();
        if self.context_length != other.context_length {
            found.push(format!("context length: {} against {}", self.context_length, other.context_length));
        }
        let texts = texts();
        let pairs = self.ids.iter().zip(&other.ids).zip(&texts);
        let differing: Vec<&String> = pairs.filter(|((a, b), _)| a != b).map(|(_, text)| text).collect();
        let count = differing.len();
        if self.ids.len() != other.ids.len() {
            found.push("tokens: of other texts".to_owned());
        } else if count > usize::from(self.context_length != other.context_length) {
            let named: Vec<String> =
                differing.iter().take(NAMED).map(|text| format!("`{}`", shown(text))).collect();
            let more = if count > NAMED { ", …" } else { "" };
            let [one, two] = [self, other].map(|rules| {
                // Titles quote the name of a way to clean texts.
                rules.title.split('`').map(shown).collect::<Vec<String>>().join("`")
            });
            found.push(format!(
                "tokens of {count} of {} texts, such as {}{more} ({one}; {two})",
                texts.len(),
                named.join(", ")
            ));
        }
        found
    }
}

/// The texts whose tokens are compared: those that verifications run, examples that cleaning and libraries read
/// differently, several scripts, and one that is too long.
fn texts() -> Vec<String> {
    const SCRIPTS: [&str; 12] = [
        "",
        "1234567890 + 3.14 = 50%",
        "don't we'll they've I'm",
        "#hashtag @user https://example.org/a?b=c&d=e",
        "naïve façade Straße İstanbul",
        "кошка на окне",
        "一只猫坐在窗台上",
        "窓辺の猫 ネコ",
        "고양이",
        "قطة على النافذة",
        "👩‍🚀🐈 <b>bold</b> &lt;tag&gt;",
        "supercalifragilisticexpialidocious antidisestablishmentarianism",
    ];
    let known = probes::TEXTS.into_iter().chain(EXAMPLES).chain(SCRIPTS).map(str::to_owned);
    let words = ["cat", "dog", "bird", "fish", "tree"];
    let long: Vec<&str> = (0..LONG).map(|at| words[at % words.len()]).collect();
    known.chain([long.join(" ")]).collect()
}
