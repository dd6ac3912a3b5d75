//! `tokenizer_config.json`, `special_tokens_map.json` and the options in an open_clip config, beside a sound
//! `tokenizer.json`. The first byte says which it is.
#![no_main]

use clipway_fuzz::{bounded, check_message};
use clipway_run::text::{HuggingFaceOptions, TokenizerFiles, TokenizerSource, check_tokenizer_file};

const TOKENIZER: &[u8] = include_bytes!("../seeds/tokenizer_json/small.json");

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else { return };
    let files = TokenizerFiles { tokenizer: TOKENIZER, config: None, special_tokens_map: None };
    let options = HuggingFaceOptions::default();
    let result = bounded(input.len(), || match which % 3 {
        0 => {
            let checked = check_tokenizer_file("tokenizer_config.json", bytes);
            checked.and(options.rules(&TokenizerFiles { config: Some(bytes), ..files })).map(|_| ())
        }
        1 => options.rules(&TokenizerFiles { special_tokens_map: Some(bytes), ..files }).map(|_| ()),
        _ => match serde_json::from_slice(bytes) {
            Ok(config) => TokenizerSource::from_text_config(&config).and_then(|source| match source {
                TokenizerSource::HuggingFace { options, .. } => options.rules(&files).map(|_| ()),
                TokenizerSource::Clip(_) => Ok(()),
            }),
            Err(_) => Ok(()),
        },
    });
    if let Err(error) = result {
        check_message(&error);
    }
});
