//! Requests to the server: heads, JSON bodies and multipart. The first byte chooses which.
#![no_main]

use std::sync::Arc;

use clipway_fetch::Hosts;
use clipway_fuzz::{bounded, check_message};
use clipway_serve::head::{Body, check, check_start, end};
use clipway_serve::parse::{
    Input, ParseLimits, SearchFor, SearchRequest, parse_classify, parse_cohere, parse_embeddings,
    parse_predict, parse_search, parse_tei,
};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let limits = ParseLimits {
        body_bytes: 1 << 16,
        json_depth: 32,
        inputs: 8,
        text_bytes: 256,
        image_bytes: 1024,
        names: vec!["m".to_owned()],
        width: 4,
        image_hosts: Arc::new(Hosts::parse(&["images.example", "*.images.example", "http://plain.example:8080"]).unwrap()),
    };
    let inputs = bounded(rest.len(), || match kind % 7 {
        0 => {
            check_head(rest);
            Ok(Vec::new())
        }
        1 => parse_embeddings(rest, &limits).map(|request| request.inputs),
        2 => parse_tei(rest, &limits).map(|request| request.inputs),
        3 => parse_cohere(rest, &limits).map(|request| request.inputs),
        4 => parse_classify(rest, &limits).map(|request| [request.images, request.prompts].concat()),
        5 => parse_search(rest, &limits).map(|request| inputs_of(request, &limits)),
        _ => {
            parse_predict("multipart/form-data; boundary=b", rest, &limits).map(|request| vec![request.input])
        }
    });
    match inputs {
        Err(error) => {
            check_message(&error);
            assert!((400..=599).contains(&error.status()) && !error.code().is_empty());
        }
        Ok(inputs) => {
            assert!(inputs.len() <= limits.inputs, "{} inputs", inputs.len());
            for input in &inputs {
                match input {
                    Input::Text(text) => assert!(text.len() <= limits.text_bytes),
                    Input::Image(bytes) => assert!(bytes.len() <= limits.image_bytes),
                    Input::Remote(address) => check_origin(&address.origin()),
                }
            }
        }
    }
});

/// The texts and images of a search; every term has a weight that is a number, and every path is short.
fn inputs_of(request: SearchRequest, limits: &ParseLimits) -> Vec<Input> {
    assert!((1..=limits.inputs).contains(&request.terms.len()), "{} terms", request.terms.len());
    let input = |what| match what {
        SearchFor::Input(input) => Some(input),
        SearchFor::Path(path) => {
            assert!(path.as_os_str().len() <= limits.text_bytes);
            None
        }
        SearchFor::Row(_) => None,
    };
    assert!(request.terms.iter().all(|term| term.weight.is_finite()));
    request.terms.into_iter().filter_map(|term| input(term.what)).collect()
}

/// Only what is allowed above is fetched.
fn check_origin(origin: &str) {
    let name = origin.strip_prefix("https://");
    let is_allowed = name.is_some_and(|name| {
        let below = name.strip_suffix("images.example");
        below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
    });
    assert!(is_allowed || origin == "http://plain.example:8080", "{origin}");
}

/// A head that is accepted whole was not refused early, however it arrives, and says one length only.
fn check_head(bytes: &[u8]) {
    let Some(end) = end(bytes, 0) else { return };
    let head = &bytes[..end];
    let Ok(body) = check(head) else { return };
    (0..=head.len()).for_each(|searched| assert_eq!(check_start(head, searched), Ok(())));
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let lengths = text.matches("\r\ncontent-length:").count();
    let encodings = text.matches("\r\ntransfer-encoding:").count();
    match body {
        Body::Chunked => assert_eq!((lengths, encodings), (0, 1)),
        Body::Length(_) => assert!(lengths <= 1 && encodings == 0),
    }
}
