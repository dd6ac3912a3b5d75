//! `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` or `spiece.model` next to a sound
//! `tokenizer.json`. The first byte picks the file.
#![no_main]

use clipway_fuzz::{bounded, check_message};
use clipway_run::text::{HuggingFaceOptions, Reader, TokenizerFiles, check_tokenizer_file, read_tokenizer};

const TOKENIZER: &[u8] = include_bytes!("../seeds/tokenizer_json/small.json");

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    let files = TokenizerFiles { tokenizer: Some(TOKENIZER), ..TokenizerFiles::default() };
    let options = HuggingFaceOptions::default();
    let read = |files: TokenizerFiles| read_tokenizer(&files, Reader::OpenClip(&options)).map(|_| ());
    let result = bounded(input.len(), || match which % 4 {
        0 => {
            let checked = check_tokenizer_file("tokenizer_config.json", bytes);
            checked.and(read(TokenizerFiles { config: Some(bytes), ..files }))
        }
        1 => read(TokenizerFiles { special_tokens_map: Some(bytes), ..files }),
        2 => read(TokenizerFiles { added_tokens: Some(bytes), ..files }),
        _ => {
            let config = Some(br#"{"tokenizer_class": "SiglipTokenizer"}"#.as_slice());
            read(TokenizerFiles { sentence_piece: Some(bytes), config, ..files })
        }
    });
    if let Err(error) = result {
        check_message(&error);
    }
});
