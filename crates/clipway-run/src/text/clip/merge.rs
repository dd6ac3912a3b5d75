//! Byte-pair merging of one word.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::vocabulary::Vocabulary;

/// Words of up to this many bytes are scanned for the next pair; longer ones use a heap.
const SHORT_WORD: usize = 48;

/// The pair does not join to any token.
const NONE: u16 = u16::MAX;

/// Merges the bytes of a word into tokens, always the earliest learned pair, leftmost first, and passes the ids on in
/// order.
pub fn merge(vocabulary: &Vocabulary, word: &[u8], push: impl FnMut(u16)) {
    if word.len() <= SHORT_WORD {
        merge_short(vocabulary, word, push)
    } else {
        merge_long(vocabulary, word, push)
    }
}

/// Returns the single-byte tokens, the last one marked as the end of a word.
fn byte_tokens<'a>(vocabulary: &'a Vocabulary, word: &'a [u8]) -> impl Iterator<Item = u16> + 'a {
    let last = word.len() - 1;
    word.iter().enumerate().map(move |(place, &byte)| vocabulary.byte_token(byte, place == last))
}

/// Merges a word of at most [`SHORT_WORD`] bytes in arrays on the stack.
fn merge_short(vocabulary: &Vocabulary, word: &[u8], push: impl FnMut(u16)) {
    let mut tokens = [0u16; SHORT_WORD];
    // The token that each pair of neighbors joins to; tokens are numbered in the order they were learned.
    let mut joins = [NONE; SHORT_WORD];
    for (place, token) in tokens.iter_mut().zip(byte_tokens(vocabulary, word)) {
        *place = token;
    }
    let mut length = word.len();
    let join =
        |tokens: &[u16], place: usize| vocabulary.join(tokens[place], tokens[place + 1]).unwrap_or(NONE);
    for (place, joined) in joins.iter_mut().enumerate().take(length - 1) {
        *joined = join(&tokens, place);
    }
    while length > 1 {
        let (place, best) = joins[..length - 1]
            .iter()
            .enumerate()
            .fold((0, NONE), |best, (place, &join)| if join < best.1 { (place, join) } else { best });
        if best == NONE {
            break;
        }
        tokens[place] = best;
        tokens.copy_within(place + 2..length, place + 1);
        length -= 1;
        if place + 1 < length {
            joins.copy_within(place + 1..length, place);
            joins[place] = join(&tokens, place);
        }
        if place > 0 {
            joins[place - 1] = join(&tokens, place - 1);
        }
    }
    tokens[..length].iter().copied().for_each(push);
}

/// One token of a long word, in a linked list.
struct Link {
    token: u16,
    previous: u32,
    next: u32,
}

/// Merges a word of any length, in n log n steps for n bytes.
fn merge_long(vocabulary: &Vocabulary, word: &[u8], mut push: impl FnMut(u16)) {
    // Words are truncated to what an index can address; no context is that long.
    let word = &word[..word.len().min(u32::MAX as usize - 1)];
    let end = word.len() as u32;
    let mut links: Vec<Link> = byte_tokens(vocabulary, word)
        .zip(0u32..)
        .map(|(token, place)| Link { token, previous: place.wrapping_sub(1), next: place + 1 })
        .collect();
    // Pairs that can be joined: the joined token, the position, and the two tokens at that time.
    let mut pairs = BinaryHeap::new();
    let offer = |pairs: &mut BinaryHeap<_>, links: &[Link], place: u32| {
        let Some(left) = links.get(place as usize) else { return };
        let Some(right) = links.get(left.next as usize) else { return };
        if let Some(joined) = vocabulary.join(left.token, right.token) {
            pairs.push(Reverse((joined, place, left.token, right.token)));
        }
    };
    for place in 0..end {
        offer(&mut pairs, &links, place);
    }
    while let Some(Reverse((joined, place, left, right))) = pairs.pop() {
        let next = links[place as usize].next;
        let stale = links[place as usize].token != left
            || links.get(next as usize).is_none_or(|link| link.token != right);
        if stale {
            continue;
        }
        let after = links[next as usize].next;
        // A token that was joined to the previous one is never found again: no pair has this number.
        links[next as usize].token = NONE;
        let link = &mut links[place as usize];
        (link.token, link.next) = (joined, after);
        let previous = link.previous;
        if let Some(link) = links.get_mut(after as usize) {
            link.previous = place;
        }
        offer(&mut pairs, &links, place);
        offer(&mut pairs, &links, previous);
    }
    let mut place = 0;
    while let Some(link) = links.get(place as usize) {
        push(link.token);
        place = link.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways of merging must give the same tokens.
    #[test]
    fn short_and_long_words_merge_alike() {
        let vocabulary = Vocabulary::shared();
        let mut state = 1u64;
        for _ in 0..5000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let length = 1 + (state >> 33) as usize % SHORT_WORD;
            let letters = if state & 1 == 0 { 3 } else { 26 };
            let word: Vec<u8> = (0..length)
                .map(|place| b'a' + ((state >> (place % 40)).wrapping_mul(place as u64 + 7) % letters) as u8)
                .collect();
            let (mut short, mut long) = (Vec::new(), Vec::new());
            merge_short(vocabulary, &word, |id| short.push(id));
            merge_long(vocabulary, &word, |id| long.push(id));
            assert_eq!(short, long, "{}", String::from_utf8_lossy(&word));
        }
    }
}
