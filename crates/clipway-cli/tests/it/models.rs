//! `clipway models`.

use crate::scene::{Scene, emoji};
use crate::snapshot::{check, check_refused};

#[test]
fn the_registry_has_144_models() {
    let scene = Scene::new();
    let text = scene.run(&["models"]).ended(0).stdout;
    assert_eq!(text.lines().count(), 1 + 144, "{text}");
    let rows = scene.run(&["models", "--json"]).ended(0).json();
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 144);
    let row = rows.iter().find(|row| row["name"] == "ViT-B-32").expect("ViT-B-32");
    assert_eq!((&row["parameters"], &row["embed_dim"]), (&151_277_313.into(), &512.into()));
    assert_eq!((&row["bytes"]["fp32"], &row["bytes"]["fp16"]), (&605_109_252.into(), &302_554_626.into()));
    assert!(
        row["pretrained"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == "laion2b_s34b_b79k"))
    );
}

#[test]
fn patterns_list_and_names_show() {
    let scene = Scene::new();
    for (name, pattern) in
        [("models-part", "rn50x"), ("models-star", "*-32-alt"), ("models-name", "ViT-B-32")]
    {
        check(&scene, name, &["models", pattern]);
    }
    check(&scene, "models-file", &["models", "EMOJI/emoji-clip.json"]);
    let shown = scene.run(&["models", "ViT-B-32", "--json"]).ended(0).json();
    assert_eq!(shown["model_cfg"]["vision_cfg"]["patch_size"], 32);
    assert_eq!(shown["preprocess_cfg"]["interpolation"], "bicubic");
}

#[test]
fn tags_and_loose_names_are_found() {
    let scene = Scene::new();
    let names = |pattern: &str| {
        let rows = scene.run(&["models", pattern, "--json"]).ended(0).json();
        let rows = rows
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["name"].as_str().unwrap_or_default().to_owned());
        rows.collect::<Vec<String>>()
    };
    assert!(names("laion2b").contains(&"ViT-B-32".to_owned()));
    assert!(names("vit-b32").contains(&"ViT-B-32".to_owned()));
}

#[test]
fn unknown_names_are_refused() {
    let scene = Scene::new();
    scene.write("broken.json", "{");
    let config = |vision: &str, text: &str| {
        format!(
            r#"{{"embed_dim": 64, "vision_cfg": {{"image_size": 224, {vision}}}, "text_cfg": {{{text}}}}}"#
        )
    };
    let own_text = r#""context_length": 16, "vocab_size": 100, "width": 64, "heads": 4, "layers": 2"#;
    let own_vision = r#""layers": 2, "width": 64, "head_width": 16, "patch_size": 32"#;
    let trunk =
        |name: &str| format!(r#""timm_model_name": "{name}", "timm_pool": "", "timm_proj": "linear""#);
    scene.write("trunk.json", config(&trunk("vit_base_patch16_223"), own_text));
    let unknown_text = r#""hf_model_name": "owner/unknown", "hf_proj_type": "mlp", "context_length": 16"#;
    scene.write("text.json", config(own_vision, unknown_text));
    let tokens = format!(r#"{}, "timm_model_kwargs": {{"patch_size": 1}}"#, trunk("vit_base_patch16_224"));
    scene.write(
        "tokens.json",
        config(&tokens, own_text).replace("\"image_size\": 224", "\"image_size\": 8192"),
    );
    for (file, code) in [("trunk", "unsupported"), ("text", "unknown-model"), ("tokens", "unsupported")] {
        let outcome = scene.run(&["models", &format!("{file}.json"), "--json"]).ended(1);
        assert_eq!(outcome.json()["error"]["code"], code, "{file}");
    }
    for (name, pattern) in
        [("models-near", "ViT-B-33"), ("models-far", "zzzzzzzz"), ("models-broken-file", "broken.json")]
    {
        check_refused(&scene, name, &["models", pattern]);
    }
}

#[test]
fn names_that_only_the_main_branch_has_are_told_apart() {
    let scene = Scene::new();
    let from = "has and 3.3.0 has not: its config is not built in [unknown-model]";
    let config = "hint: pass its config, `src/open_clip/model_configs/naflex_ViT-B-16.json` of open_clip's main branch, with \
                  `--model FILE.json`";
    for arguments in [
        &["export", "EMOJI/emoji-clip.pt", "--model", "naflex_ViT-B-16", "--out", "out"][..],
        &["models", "naflex_ViT-B-16"],
        &["inspect", "--model", "naflex_ViT-B-16", "--pretrained", "any"],
    ] {
        let outcome = scene.run(arguments);
        assert!(
            outcome.stderr.contains(from) && outcome.stderr.contains(config),
            "{arguments:?}: {outcome:?}"
        );
    }
    // As a source, with a tag or without one.
    for source in ["naflex_ViT-B-16", "naflex_ViT-B-16:webli"] {
        let outcome = scene.run(&["inspect", source]);
        let words = "hint: this is an architecture's name; pass the file or folder with its weights";
        assert!(
            outcome.stderr.contains(words) && outcome.stderr.contains("naflex_ViT-B-16.json"),
            "{outcome:?}"
        );
    }
    let outcome = scene.run(&["models", "CLAP-HTSAT-tiny"]);
    assert!(outcome.stderr.contains("of open_clip's main branch: it reads sound"), "{outcome:?}");
    assert!(outcome.stderr.contains("hint: README.md lists the models"), "{outcome:?}");
}

#[test]
fn names_of_the_hub_in_a_text_config_say_what_to_put_where() {
    let scene = Scene::new();
    let config = std::fs::read_to_string(emoji().join("emoji-clip.json")).expect("the config");
    let with = |key: &str| {
        config.replace(r#""context_length""#, &format!(r#""{key}": "owner/some", "context_length""#))
    };
    scene.write("named.json", with("hf_tokenizer_name"));
    let outcome = scene.run(&["embed", "EMOJI/emoji-clip.pt", "--model", "named.json", "--text", "a lion"]);
    for words in ["the files of `owner/some` are missing from the folder", "with `--tokenizer DIR`"] {
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
    }
    scene.write("text.json", with("hf_model_name"));
    let outcome = scene.run(&["export", "EMOJI/emoji-clip.pt", "--model", "text.json", "--out", "out"]);
    for words in
        ["unknown text model `owner/some`", "hint: put the `config.json` of `owner/some` beside the weights"]
    {
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
    }
}
