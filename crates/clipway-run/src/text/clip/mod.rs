//! CLIP's byte-pair encoding (Radford et al. 2021, "Learning Transferable Visual Models From Natural
//! Language Supervision"), as open_clip's `SimpleTokenizer` applies it.

mod files;
mod merge;
mod scanner;
mod vocabulary;

pub use files::{
    ClipFile, check_clip_vocabulary, clip_normalizer, clip_pre_tokenizer, tokenizer_files_for_clip,
    tokenizer_json_for_clip,
};

use super::filled::Filled;
use scanner::{Word, Words};
use vocabulary::{END, START, Vocabulary};

/// The id of the token after a text.
pub const END_TOKEN: u32 = END as u32;

/// CLIP's encoder. All share one vocabulary, built when the first is created.
#[derive(Debug)]
pub struct ClipBpe {
    vocabulary: &'static Vocabulary,
}

impl ClipBpe {
    /// Creates an encoder.
    pub fn new() -> Self {
        ClipBpe { vocabulary: Vocabulary::shared() }
    }

    /// Fills a row of ids, `[context_length]`, from a cleaned text: start, text, end, zeros. A truncated text keeps the
    /// end token.
    pub fn encode_into(&self, text: &str, row: &mut [i64]) -> Filled {
        let mut writer = Writer { row, length: 0 };
        writer.push(START);
        for word in Words::new(text) {
            match word {
                Word::Start => writer.push(START),
                Word::End => writer.push(END),
                Word::Text(word) => self.encode_word(word.as_bytes(), &mut writer),
            }
            if writer.is_over() {
                break;
            }
        }
        writer.push(END);
        let truncated = writer.is_over();
        let length = writer.length.min(row.len());
        if truncated && let Some(last) = row.last_mut() {
            *last = END.into();
        }
        row[length..].fill(0);
        Filled { truncated, tokens: 0..length }
    }

    /// Appends the ids of one word.
    fn encode_word(&self, word: &[u8], writer: &mut Writer) {
        if let Some(id) = self.vocabulary.whole_word(word) {
            writer.push(id);
            return;
        }
        merge::merge(self.vocabulary, word, |id| writer.push(id));
    }
}

/// A row being filled, and how many ids it received, including those without room.
struct Writer<'a> {
    row: &'a mut [i64],
    length: usize,
}

impl Writer<'_> {
    /// Appends an id, if there is room.
    fn push(&mut self, id: u16) {
        if let Some(place) = self.row.get_mut(self.length) {
            *place = id.into();
        }
        self.length += 1;
    }

    /// Whether more ids were appended than there is room for.
    fn is_over(&self) -> bool {
        self.length > self.row.len()
    }
}
