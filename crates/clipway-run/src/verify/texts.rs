//! Measures the effect of a library that reads some texts differently.

use std::fmt;

use clipway_formats::shown;

use super::compare::cosine;
use super::outputs::Inputs;
use crate::clip::{Clip, ClipError};
use crate::text::{EXAMPLES, Tokenizer};

/// The text on which two tokenizers differ most, as a model sees it. `Display` is a note for people.
#[derive(Clone, Debug, PartialEq)]
pub struct TextDifference {
    /// Number of texts compared.
    pub texts: usize,
    /// Number of texts with other token ids.
    pub differing: usize,
    /// The text whose features differ most.
    pub worst: String,
    /// Cosine of its features by both tokenizers.
    pub cosine: f64,
}

impl TextDifference {
    /// Runs a model on built-in examples and the inputs' texts, by its own tokenizer and by another one; `None` if both
    /// give the same ids, padding aside, or the model reads no texts. A text that one of them refuses is skipped.
    ///
    /// # Errors
    /// Ids that the engine refuses.
    pub fn of(clip: &Clip, inputs: &Inputs, other: &Tokenizer) -> Result<Option<TextDifference>, ClipError> {
        if !clip.has_text_tower() || !clip.has_tokenizer() {
            return Ok(None);
        }
        let own = clip.tokenizer()?;
        let mut found =
            TextDifference { texts: 0, differing: 0, worst: String::new(), cosine: f64::INFINITY };
        for text in EXAMPLES.into_iter().chain(inputs.texts.iter().map(String::as_str)) {
            let (Ok(one), Ok(two)) = (own.encode(text), other.encode(text)) else { continue };
            found.texts += 1;
            if one.tokens() == two.tokens() || one.ids.len() != two.ids.len() {
                continue;
            }
            let features = clip.encode_tokens(&[one.ids, two.ids].concat())?;
            let (one, two) = features.split_at(clip.embed_dim());
            let cosine = cosine(one, two);
            found.differing += 1;
            if cosine < found.cosine {
                (found.cosine, found.worst) = (cosine, text.to_owned());
            }
        }
        Ok((found.differing > 0).then_some(found))
    }
}

impl fmt::Display for TextDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the folder's library gives {} of {} texts other token ids: `{}` differs most, and the cosine of its \
             features is {:.6}",
            self.differing,
            self.texts,
            shown(&self.worst),
            self.cosine
        )
    }
}
