//! `tokenizer.json` files: an accepted one encodes any text to known ids, the same ones every time.
#![no_main]

use clipway_fuzz::{bounded, check_message, let_libraries_panic};
use clipway_run::text::{
    Clean, HuggingFaceOptions, Reader, Tokenizer, TokenizerFiles, check_tokenizer_file, read_tokenizer,
};

const TEXTS: [&str; 4] = ["", "a photo of a cat", "2 \u{fc}ber\n\u{732b} \u{1f408}", "<x>[PAD]</s> 'll  \0"];

/// Units of long texts that are hard for regular expressions that look far ahead.
const UNITS: [&str; 3] = [" ", "a", "\n 1"];

/// Bytes of a long text.
const LONG: usize = 10_000;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let_libraries_panic();
    if let Err(error) = bounded(input.len(), || check_tokenizer_file("tokenizer.json", input)) {
        return check_message(&error);
    }
    let files = TokenizerFiles { tokenizer: Some(input), ..TokenizerFiles::default() };
    let options = HuggingFaceOptions { context_length: 12, clean: Clean::Whitespace, ..Default::default() };
    let (_, rules) = match read_tokenizer(&files, Reader::OpenClip(&options)) {
        Ok(read) => read.expect("a file is given"),
        Err(error) => return check_message(&error),
    };
    let tokenizer = match Tokenizer::from_json(input, rules) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return check_message(&error),
    };
    for text in TEXTS {
        let (first, second) = (tokenizer.encode(text), tokenizer.encode(text));
        assert_eq!(first, second, "one text twice");
        match first {
            Ok(encoded) => assert_eq!(encoded.ids.len(), 12),
            Err(error) => check_message(&error),
        }
    }
    for unit in UNITS {
        let text = unit.repeat(LONG / unit.len());
        if let Err(error) = bounded(LONG, || tokenizer.encode(&text)) {
            check_message(&error);
        }
    }
});
