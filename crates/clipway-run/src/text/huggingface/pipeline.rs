//! The normalizer, pre-tokenizer and decoder of a `tokenizer.json`: only known parts, none of which can take
//! exponential time or inflate a text, alone or together with others.

use super::budget::{Budget, Growth, string};
use super::charsmap;
use super::json::Node;
use crate::text::TokenizerError;

/// Bytes per input byte after `ByteLevel` spells it as a character.
const BYTE_LEVEL_GROWTH: u64 = 2;

/// Bytes per input byte in a one-byte piece to which `ByteLevel` adds a space.
const BYTE_LEVEL_PIECE_GROWTH: u64 = 4;

/// Bytes per input byte in a one-byte piece to which `Metaspace` adds its mark.
const METASPACE_GROWTH: u64 = 4;

/// Maximum nesting of sequences.
const DEEPEST: usize = 8;

/// Checks a normalizer, and returns how much longer it may make a text.
pub fn check_normalizer(node: &Node, budget: &mut Budget) -> Result<Growth, TokenizerError> {
    let growth = normalizer(node, DEEPEST, budget)?;
    growth.check(node)?;
    Ok(growth)
}

fn normalizer(node: &Node, depth: usize, budget: &mut Budget) -> Result<Growth, TokenizerError> {
    budget.part(node)?;
    match node.need("type")?.string()? {
        "Sequence" if depth > 0 => {
            node.only(&["type", "normalizers"])?;
            let parts = node.need("normalizers")?;
            parts.elements()?.try_fold(Growth::default(), |growth, part| {
                Ok(growth.then(normalizer(&part, depth - 1, budget)?))
            })
        }
        // What these add is limited by the text's characters, and nothing adds to it again.
        "NFC" | "NFD" | "NFKC" | "NFKD" | "Nmt" | "Lowercase" | "StripAccents" => {
            node.only(&["type"])?;
            Ok(Growth::default())
        }
        "ByteLevel" => {
            node.only(&["type"])?;
            Ok(Growth::times(BYTE_LEVEL_GROWTH))
        }
        "BertNormalizer" => {
            node.only(&["type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"])?;
            Ok(Growth::default())
        }
        "Strip" => {
            node.only(&["type", "strip_left", "strip_right"])?;
            Ok(Growth::default())
        }
        "Prepend" => {
            node.only(&["type", "prepend"])?;
            Growth::prepended(&node.need("prepend")?)
        }
        "Replace" => {
            node.only(&["type", "pattern", "content"])?;
            let content = string(&node.need("content")?)?.len();
            let shortest = budget.pattern(&node.need("pattern")?)?;
            Ok(Growth::times(content.div_ceil(shortest).max(1) as u64))
        }
        "Precompiled" => {
            node.only(&["type", "precompiled_charsmap"])?;
            Ok(Growth::times(charsmap::check(&node.need("precompiled_charsmap")?)?))
        }
        other => Err(node.error(format!("the normalizer `{other}` is not supported"))),
    }
}

/// Checks a pre-tokenizer, and returns how many times longer it may make a text's pieces.
pub fn check_pre_tokenizer(node: &Node, budget: &mut Budget) -> Result<Growth, TokenizerError> {
    let growth = pre_tokenizer(node, DEEPEST, budget)?;
    growth.check_pieces(node)?;
    Ok(growth)
}

fn pre_tokenizer(node: &Node, depth: usize, budget: &mut Budget) -> Result<Growth, TokenizerError> {
    budget.part(node)?;
    let same = |_| Growth::default();
    match node.need("type")?.string()? {
        "Sequence" if depth > 0 => {
            node.only(&["type", "pretokenizers"])?;
            let parts = node.need("pretokenizers")?;
            parts.elements()?.try_fold(Growth::default(), |growth, part| {
                Ok(growth.then(pre_tokenizer(&part, depth - 1, budget)?))
            })
        }
        "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit" | "UnicodeScripts" => {
            node.only(&["type"]).map(same)
        }
        "ByteLevel" => {
            node.only(&["type", "add_prefix_space", "trim_offsets", "use_regex"])?;
            let spaced = node.get("add_prefix_space")?.map_or(Ok(true), |flag| flag.bool())?;
            Ok(Growth::times(if spaced { BYTE_LEVEL_PIECE_GROWTH } else { BYTE_LEVEL_GROWTH }))
        }
        "Metaspace" => {
            node.only(&["type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"])?;
            Ok(Growth::times(METASPACE_GROWTH))
        }
        "CharDelimiterSplit" => node.only(&["type", "delimiter"]).map(same),
        "Punctuation" => node.only(&["type", "behavior"]).map(same),
        "Digits" => node.only(&["type", "individual_digits"]).map(same),
        "FixedLength" => {
            node.only(&["type", "length"])?;
            node.get("length")?.map_or(Ok(5), |length| length.number(1, u32::MAX.into()))?;
            Ok(Growth::default())
        }
        "Split" => {
            node.only(&["type", "pattern", "behavior", "invert"])?;
            budget.pattern(&node.need("pattern")?)?;
            Ok(Growth::default())
        }
        other => Err(node.error(format!("the pre-tokenizer `{other}` is not supported"))),
    }
}

/// Counts the parts of a decoder, which encoding never uses: the library still compiles its contents.
pub fn check_decoder(node: &Node, budget: &mut Budget) -> Result<(), TokenizerError> {
    decoder(node, DEEPEST, budget)
}

fn decoder(node: &Node, depth: usize, budget: &mut Budget) -> Result<(), TokenizerError> {
    budget.part(node)?;
    match node.need("type")?.string()? {
        "Sequence" if depth > 0 => {
            node.need("decoders")?.elements()?.try_for_each(|part| decoder(&part, depth - 1, budget))
        }
        "Sequence" => Err(node.error("sequences of decoders are nested too deeply")),
        "Replace" => budget.pattern(&node.need("pattern")?).map(|_| ()),
        // The library knows the others, and refuses unknown ones.
        _ => Ok(()),
    }
}
