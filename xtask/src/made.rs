//! Small models with formula weights, for runs that need a source.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clipway_formats::{Dtype, TensorInfo, write_safetensors};
use clipway_model::architecture;
use clipway_model::config::ConfigFile;
use clipway_testing::formula;
use serde_json::{Value, json};

/// Returns the tensors of a model, in state-dict order.
pub fn parameters(config: &str) -> Result<Vec<TensorInfo>, String> {
    let file = ConfigFile::parse(config.as_bytes()).map_err(|error| error.to_string())?;
    let model = architecture::build(&file.model).map_err(|error| error.to_string())?;
    let ids = model.parameters.in_state_dict_order().into_iter();
    let info = |id| {
        let parameter = model.parameters.get(id);
        TensorInfo { name: parameter.name.clone(), dtype: Dtype::F32, shape: parameter.shape.clone() }
    };
    Ok(ids.map(info).collect())
}

/// Writes a folder that contains only a config.
pub fn write_config(folder: &Path, config: &str) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| shown(folder, error))?;
    let path = folder.join("open_clip_config.json");
    fs::write(&path, format!(r#"{{"model_cfg": {config}}}"#)).map_err(|error| shown(&path, error))
}

/// Writes a folder with a config and a weight file whose values depend on `letter`.
pub fn write_source(folder: &Path, config: &str, weights: &str, letter: &str) -> Result<(), String> {
    write_config(folder, config)?;
    let infos = parameters(config)?;
    let path = folder.join(weights);
    let mut out = io::BufWriter::new(fs::File::create(&path).map_err(|error| shown(&path, error))?);
    let mut values = Vec::new();
    let written = write_safetensors(&mut out, &infos, &[], |index| {
        formula::fill(&format!("{letter}.{}", infos[index].name), &infos[index].shape, &mut values);
        Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    });
    written.and_then(|()| out.flush()).map_err(|error| shown(&path, error))
}

/// Returns a tokenizer for the words `a` and `b` whose last token has the highest id, as the model requires.
pub fn tokenizer() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "decoder": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": "[SEP]", "type_id": 0 } },
            ],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [5], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [6], "tokens": ["[SEP]"] },
            },
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": { "[UNK]": 0, "[PAD]": 1, "a": 2, "##a": 3, "b": 4, "[CLS]": 5, "[SEP]": 6 },
        },
    })
}

/// Writes a model of this width and number of image layers, with `tokenizer` for its texts.
pub fn write_small(
    folder: &Path,
    width: usize,
    layers: usize,
    tokenizer: &Value,
    letter: &str,
) -> Result<(), String> {
    let config = format!(
        r#"{{"embed_dim": {width},
            "vision_cfg": {{"image_size": 64, "layers": {layers}, "width": {width}, "patch_size": 16}},
            "text_cfg": {{"context_length": 16, "vocab_size": 1000, "width": {width}, "heads": {}, "layers": 1,
                         "hf_tokenizer_name": "x/y"}}}}"#,
        width / 64
    );
    write_source(folder, &config, "open_clip_model.safetensors", letter)?;
    for (name, value) in [
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", &json!({ "tokenizer_class": "BertTokenizer", "pad_token": "[PAD]" })),
        ("special_tokens_map.json", &json!({ "pad_token": "[PAD]", "unk_token": "[UNK]" })),
    ] {
        let path = folder.join(name);
        fs::write(&path, value.to_string()).map_err(|error| shown(&path, error))?;
    }
    Ok(())
}

/// Describes what went wrong with a path.
pub fn shown(path: &Path, error: io::Error) -> String {
    format!("`{}`: {error}", path.display())
}
