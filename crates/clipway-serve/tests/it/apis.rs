//! The APIs of OpenAI, infinity, Jina, vLLM, text-embeddings-inference and Cohere: vectors equal the library's, and
//! errors have each API's shape.

use serde_json::{Value, json};

use crate::scene::{NAME, Scene, data_uri, image, image_vector, normalized, text_vector, vector};

#[test]
fn openai_strings_lists_and_base64() {
    let scene = Scene::new();
    let one = scene.post("/v1/embeddings", &json!({ "model": NAME, "input": "lion" })).with_status(200);
    assert!(one.header("server-timing").is_some_and(|value| value.starts_with("queue;dur=")));
    let one = one.json();
    assert_eq!(vector(&one["data"][0]["embedding"]), text_vector("lion"));
    assert_eq!((&one["object"], &one["model"]), (&json!("list"), &json!(NAME)));
    // Start, `lion`, end.
    assert_eq!(one["usage"], json!({ "prompt_tokens": 3, "total_tokens": 3 }));
    let many = json!({
        "model": NAME, "input": ["lion", "avocado"], "encoding_format": "base64", "user": "someone",
        "dimensions": text_vector("lion").len(),
    });
    let many = scene.post("/embeddings", &many).with_status(200).json();
    assert_eq!(vector(&many["data"][0]["embedding"]), text_vector("lion"));
    assert_eq!(vector(&many["data"][1]["embedding"]), text_vector("avocado"));
    assert_eq!(many["data"][1]["index"], 1);
    let raw = json!({ "model": NAME, "input": "lion", "normalized": false });
    let raw = vector(&scene.post("/v1/embeddings", &raw).with_status(200).json()["data"][0]["embedding"]);
    assert_ne!(raw, text_vector("lion"));
    assert_eq!(normalized(raw), text_vector("lion"));
}

#[test]
fn images_as_infinity_jina_and_vllm_send_them() {
    let scene = Scene::new();
    let lion = data_uri(&image("lion"));
    let bare = lion.split_once(',').expect("a data URI").1;
    for body in [
        json!({ "model": NAME, "modality": "image", "input": lion }),
        json!({ "model": NAME, "modality": "image", "input": [lion], "encoding_format": "float" }),
        json!({ "model": NAME, "input": [{ "image": lion }] }),
        json!({ "model": NAME, "input": [{ "image": bare }] }),
        json!({ "model": NAME, "messages": [{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": lion } }, { "type": "text", "text": "" },
        ] }] }),
    ] {
        let answer = scene.post("/v1/embeddings", &body).with_status(200).json();
        assert_eq!(vector(&answer["data"][0]["embedding"]), image_vector("lion"), "{body:.200}");
    }
    let mixed = json!({ "model": NAME, "input": [{ "text": "lion" }, { "image": lion }, "avocado"] });
    let mixed = scene.post("/v1/embeddings", &mixed).with_status(200).json();
    assert_eq!(vector(&mixed["data"][0]["embedding"]), text_vector("lion"));
    assert_eq!(vector(&mixed["data"][1]["embedding"]), image_vector("lion"));
    assert_eq!(vector(&mixed["data"][2]["embedding"]), text_vector("avocado"));
}

/// The status, type and code of a refused request for embeddings.
fn refused(scene: &Scene, body: &Value) -> (u16, String, String) {
    let answer = scene.post("/v1/embeddings", body);
    let error = answer.json()["error"].clone();
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    let text = |key: &str| error[key].as_str().expect("a string").to_owned();
    (answer.status, text("type"), text("code"))
}

#[test]
fn what_openai_clients_cannot_have_is_refused_in_their_shape() {
    let scene = Scene::new();
    let bad = |body: Value| refused(&scene, &body);
    let invalid = |status, code: &str| (status, "invalid_request_error".to_owned(), code.to_owned());
    assert_eq!(bad(json!({ "model": NAME })), invalid(400, "missing"));
    assert_eq!(bad(json!({ "input": "lion" })), invalid(400, "missing"));
    assert_eq!(bad(json!({ "model": NAME, "input": [] })), invalid(400, "missing"));
    assert_eq!(bad(json!({ "model": NAME, "input": 1.5 })), invalid(400, "bad-value"));
    assert_eq!(bad(json!({ "model": NAME, "input": [[1, 2]] })), invalid(400, "unsupported"));
    assert_eq!(bad(json!({ "model": NAME, "input": "a", "dimensions": 3 })), invalid(400, "bad-value"));
    assert_eq!(bad(json!({ "model": NAME, "input": "a", "other": 3 })), invalid(400, "unknown-key"));
    assert_eq!(bad(json!({ "model": NAME, "input": "a", "modality": "audio" })), invalid(400, "unsupported"));
    let not_found = (404, "not_found_error".to_owned(), "unknown-model".to_owned());
    assert_eq!(bad(json!({ "model": "ViT-B-32", "input": "a" })), not_found);
    let remote = json!({ "model": NAME, "modality": "image", "input": "https://example.org/a.png" });
    assert_eq!(bad(remote), invalid(400, "serve-remote-image"));
    let file = json!({ "model": NAME, "input": [{ "image": "file:///etc/passwd" }] });
    assert_eq!(bad(file), invalid(400, "serve-remote-image"));
    for data in
        ["data:text/html;base64,AAAA", "data:image/png,AAAA", "data:;base64,AAAA", "data:image/;base64,AA=="]
    {
        let body = json!({ "model": NAME, "modality": "image", "input": data });
        assert_eq!(bad(body), invalid(400, "bad-value"), "{data}");
    }
    let text = json!({ "model": NAME, "modality": "image", "input": "data:image/png;base64,!!!!" });
    assert_eq!(bad(text), invalid(400, "bad-value"));
    let twice =
        scene.raw(crate::client::request("POST", "/v1/embeddings", &[], br#"{"model":"a","model":"b"}"#));
    assert_eq!((twice.status, twice.json()["error"]["code"].clone()), (400, json!("duplicate")));
    assert_eq!(scene.get("/v1/nothing").with_status(404).json()["error"]["code"], "serve-no-route");
    let method = scene.get("/v1/embeddings").with_status(405);
    assert_eq!(method.header("allow"), Some("POST"));
}

#[test]
fn one_bad_image_spoils_its_own_item_only() {
    let scene = Scene::new();
    let good = data_uri(&image("lion"));
    let cut = data_uri(&image("lion")[..200]);
    let mut body = json!({ "model": NAME, "modality": "image", "input": [good, cut, good] });
    let whole = scene.post("/v1/embeddings", &body).with_status(400).json();
    assert_eq!(whole["errors"][0]["index"], 1);
    assert_eq!(whole["error"]["code"], whole["errors"][0]["code"]);
    body["partial"] = json!(true);
    let partial = scene.post("/v1/embeddings", &body).with_status(200).json();
    let indices: Vec<&Value> =
        partial["data"].as_array().expect("a list").iter().map(|one| &one["index"]).collect();
    assert_eq!(indices, [0, 2]);
    assert_eq!(vector(&partial["data"][1]["embedding"]), image_vector("lion"));
    assert_eq!(partial["errors"].as_array().expect("a list").len(), 1);
    // The next request is answered.
    scene.post("/v1/embeddings", &json!({ "model": NAME, "input": "lion" })).with_status(200);
}

#[test]
fn text_embeddings_inference() {
    let scene = Scene::new();
    let one = scene.post("/embed", &json!({ "inputs": "lion" })).with_status(200);
    assert_eq!(one.header("x-compute-tokens"), Some("3"));
    assert_eq!(vector(&one.json()[0]), text_vector("lion"));
    let many = json!({ "inputs": ["lion", "avocado"], "truncate": true, "normalize": false });
    let many = scene.post("/embed", &many).with_status(200).json();
    assert_eq!(normalized(vector(&many[1])), text_vector("avocado"));
    let bad = scene.post("/embed", &json!({ "inputs": [] })).with_status(422).json();
    assert_eq!((&bad["error_type"], &bad["code"]), (&json!("Validation"), &json!("missing")));
    let long = "lion ".repeat(200);
    scene.post("/embed", &json!({ "inputs": long, "truncate": false })).with_status(422);
    let truncated = scene.post("/embed", &json!({ "inputs": long })).with_status(200);
    assert_eq!(truncated.header("x-clipway-truncated"), Some("1"));
    let many = json!({ "inputs": vec!["a"; 257] });
    scene.post("/embed", &many).with_status(413);
    let info = scene.get("/info").with_status(200).json();
    assert_eq!((&info["model_id"], &info["max_client_batch_size"]), (&json!(NAME), &json!(256)));
}

#[test]
fn cohere() {
    let scene = Scene::new();
    let texts = json!({
        "model": NAME, "texts": ["lion", "avocado"], "input_type": "search_query",
        "embedding_types": ["float", "base64"],
    });
    let answer = scene.post("/v2/embed", &texts).with_status(200);
    let texts = answer.json();
    assert_eq!(texts["id"].as_str(), answer.header("x-request-id"));
    assert_eq!(scene.ids.lock().expect("ids").first().map(String::as_str), answer.header("x-request-id"));
    assert_eq!(vector(&texts["embeddings"]["float"][1]), text_vector("avocado"));
    assert_eq!(vector(&texts["embeddings"]["base64"][0]), text_vector("lion"));
    assert_eq!(texts["texts"], json!(["lion", "avocado"]));
    assert_eq!(texts["meta"]["api_version"]["version"], "2");
    let lion = data_uri(&image("lion"));
    for body in [
        json!({ "model": NAME, "images": [lion], "input_type": "image" }),
        json!({ "model": NAME, "inputs": [{ "content": [{ "type": "image_url", "image_url": { "url": lion } }] }] }),
    ] {
        let answer = scene.post("/v2/embed", &body).with_status(200).json();
        assert_eq!(vector(&answer["embeddings"]["float"][0]), image_vector("lion"));
    }
    let bad = json!({ "model": NAME, "texts": ["a"], "embedding_types": ["int8"] });
    let bad = scene.post("/v2/embed", &bad).with_status(400).json();
    assert_eq!(bad["code"], "bad-value");
    assert!(bad["message"].as_str().is_some_and(|message| message.contains("$.embedding_types[0]")), "{bad}");
}
