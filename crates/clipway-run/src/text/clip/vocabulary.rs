//! CLIP's vocabulary: 256 bytes, the same bytes at the end of a word, 48894 merges, and two special tokens.

use std::sync::LazyLock;

use crate::text::characters::is_own_letter;

/// CLIP's merges in the order they were learned, each two 16-bit ids, lowest byte first. Derived from
/// `bpe_simple_vocab_16e6.txt` of <https://github.com/openai/CLIP> (MIT, Copyright (c) 2021 OpenAI) by
/// `scripts/generate_text_tables.py`.
static MERGES: &[u8] = include_bytes!("../../../data/clip_merges.bin");

/// Number of single-byte tokens, including those at the end of a word: the id of the first merge.
pub const FIRST_MERGE: usize = 512;

/// The id of the token before a text.
pub const START: u16 = 49406;

/// The id of the token after a text.
pub const END: u16 = 49407;

/// Slots of the hash tables: a power of two, and more than twice the number of entries.
const SLOTS: usize = 1 << 17;

/// The value of an empty slot: the id of no token that is looked up.
const EMPTY: u16 = u16::MAX;

static SHARED: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::new);

/// The tables for encoding.
pub struct Vocabulary {
    /// The bytes of all tokens, concatenated.
    bytes: Vec<u8>,
    /// Where each token's bytes start; one more entry marks the end.
    offsets: Vec<u32>,
    /// Whether each token ends a word.
    ends: Vec<bool>,
    /// The token of each byte within a word.
    byte_tokens: [u16; 256],
    /// Pairs of tokens, left in the low half.
    pair_keys: Vec<u32>,
    /// What each pair joins to.
    pair_values: Vec<u16>,
    /// Tokens that are complete words, by the hash of their bytes.
    words: Vec<u16>,
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Vocabulary").field("tokens", &(self.offsets.len() - 1)).finish()
    }
}

impl Vocabulary {
    /// Returns the vocabulary, building it the first time.
    pub fn shared() -> &'static Vocabulary {
        &SHARED
    }

    /// Builds the tables.
    fn new() -> Self {
        let order = byte_order();
        let mut byte_tokens = [0; 256];
        for (&byte, token) in order.iter().zip(0u16..) {
            byte_tokens[usize::from(byte)] = token;
        }
        let mut vocabulary = Vocabulary {
            bytes: order.iter().chain(&order).copied().collect(),
            offsets: (0..=FIRST_MERGE as u32).collect(),
            byte_tokens,
            pair_keys: vec![0; SLOTS],
            pair_values: vec![EMPTY; SLOTS],
            words: vec![EMPTY; SLOTS],
            ends: (0..FIRST_MERGE).map(|token| token >= 256).collect(),
        };
        vocabulary.bytes.reserve(MERGES.len() * 2);
        vocabulary.offsets.reserve(MERGES.len() / 4);
        for token in 256..FIRST_MERGE {
            vocabulary.insert_word(token as u16);
        }
        for ((left, right), token) in merges().zip(FIRST_MERGE as u16..) {
            for part in [left, right] {
                let range = vocabulary.range(part);
                vocabulary.bytes.extend_from_within(range);
            }
            vocabulary.offsets.push(vocabulary.bytes.len() as u32);
            vocabulary.insert_pair(left, right, token);
            let ends_word = vocabulary.ends_word(right);
            vocabulary.ends.push(ends_word);
            if ends_word {
                vocabulary.insert_word(token);
            }
        }
        vocabulary
    }

    /// The bytes of a token, which do not show whether it ends a word.
    pub fn token_bytes(&self, token: u16) -> &[u8] {
        &self.bytes[self.range(token)]
    }

    /// Whether a token ends a word.
    pub fn ends_word(&self, token: u16) -> bool {
        self.ends[usize::from(token)]
    }

    /// The token of one byte.
    pub fn byte_token(&self, byte: u8, ends_word: bool) -> u16 {
        self.byte_tokens[usize::from(byte)] + if ends_word { 256 } else { 0 }
    }

    /// The token that two tokens join to.
    pub fn join(&self, left: u16, right: u16) -> Option<u16> {
        let key = pair_key(left, right);
        let mut slot = pair_slot(key);
        while self.pair_values[slot] != EMPTY {
            if self.pair_keys[slot] == key {
                return Some(self.pair_values[slot]);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    /// The token for a complete word. The generator of the merges has checked that for every such token, merging the
    /// word's bytes leads to the same token.
    pub fn whole_word(&self, word: &[u8]) -> Option<u16> {
        let mut slot = word_slot(word);
        while self.words[slot] != EMPTY {
            let token = self.words[slot];
            if self.token_bytes(token) == word {
                return Some(token);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }

    /// Where a token's bytes are.
    fn range(&self, token: u16) -> std::ops::Range<usize> {
        let token = usize::from(token);
        self.offsets[token] as usize..self.offsets[token + 1] as usize
    }

    /// Stores what a pair joins to.
    fn insert_pair(&mut self, left: u16, right: u16, token: u16) {
        let key = pair_key(left, right);
        let mut slot = pair_slot(key);
        while self.pair_values[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        (self.pair_keys[slot], self.pair_values[slot]) = (key, token);
    }

    /// Stores a token as a complete word.
    fn insert_word(&mut self, token: u16) {
        let mut slot = word_slot(self.token_bytes(token));
        while self.words[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        self.words[slot] = token;
    }
}

/// The merges: the ids of the two joined tokens.
pub fn merges() -> impl Iterator<Item = (u16, u16)> {
    let (pairs, _) = MERGES.as_chunks::<4>();
    pairs.iter().map(|&[a, b, c, d]| (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])))
}

/// The bytes in the order of their tokens: printable Latin-1 ones first, then the others.
pub fn byte_order() -> Vec<u8> {
    let (first, second): (Vec<u8>, Vec<u8>) = (0..=255).partition(|byte| is_own_letter(*byte));
    [first, second].concat()
}

/// Packs a pair.
fn pair_key(left: u16, right: u16) -> u32 {
    u32::from(left) | u32::from(right) << 16
}

/// First slot in the search for a pair.
fn pair_slot(key: u32) -> usize {
    (u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 47) as usize % SLOTS
}

/// First slot in the search for a word.
fn word_slot(word: &[u8]) -> usize {
    let mut hash = word.len() as u64;
    let (chunks, rest) = word.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    for chunk in chunks.iter().chain([&last]) {
        hash = (hash ^ u64::from_le_bytes(*chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 47) as usize % SLOTS
}
