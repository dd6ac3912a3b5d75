//! Changes to a config, and its JSON: its original keys in their order, with the changes applied.

use clipway_formats::{FormatError, Json, JsonValue};

use super::text_model::{TextModel, known};
use super::vision::TIMM_CHANGES_KEY;
use super::write::{array, pretty, string};
use super::{END_KEY, FOLDED_KEY, ModelConfig, PreprocessConfig, TextPool, WITHOUT_EFFECT};
use crate::contract::Clean;

impl ModelConfig {
    /// Sets the width of the embedding shared by images and texts.
    ///
    /// # Errors
    /// A width out of range; the config is then unchanged.
    pub fn set_embed_dim(&mut self, width: usize) -> Result<(), FormatError> {
        self.change(&["embed_dim"], JsonValue::Unsigned(width as u64))
    }

    /// Sets the height and width of the images, in pixels.
    ///
    /// # Errors
    /// A size that does not fit the rest of the config; the config is then unchanged.
    pub fn set_image_size(&mut self, size: [usize; 2]) -> Result<(), FormatError> {
        self.change(&["vision_cfg", "image_size"], sides(size))
    }

    /// Sets the image size that a timm trunk's tensors were made for.
    ///
    /// # Errors
    /// A size out of range; the config is then unchanged.
    pub(crate) fn set_trunk_image_size(&mut self, size: [usize; 2]) -> Result<(), FormatError> {
        self.change(&["vision_cfg", TIMM_CHANGES_KEY, "img_size"], sides(size))
    }

    /// Sets the context length, in tokens.
    ///
    /// # Errors
    /// A length out of range; the config is then unchanged.
    pub fn set_context_length(&mut self, length: usize) -> Result<(), FormatError> {
        self.change(&["text_cfg", "context_length"], JsonValue::Unsigned(length as u64))
    }

    /// Chooses QuickGELU or GELU.
    ///
    /// # Errors
    /// Activation arguments that rule out QuickGELU; the config is then unchanged.
    pub fn set_quick_gelu(&mut self, quick_gelu: bool) -> Result<(), FormatError> {
        self.change(&["quick_gelu"], JsonValue::Bool(quick_gelu))
    }

    /// Sets the image tower's head width and the text tower's number of heads.
    ///
    /// # Errors
    /// Values that do not divide the widths; the config is then unchanged.
    pub(crate) fn set_heads(
        &mut self,
        vision_head_width: usize,
        text_heads: usize,
    ) -> Result<(), FormatError> {
        let mut changed = self.clone();
        changed.change(&["vision_cfg", "head_width"], JsonValue::Unsigned(vision_head_width as u64))?;
        changed.change(&["text_cfg", "heads"], JsonValue::Unsigned(text_heads as u64))?;
        *self = changed;
        Ok(())
    }

    /// Adds a logit bias, with the value from which open_clip's trainer starts with SigLIP's loss.
    ///
    /// # Errors
    /// None: every config may have one.
    pub(crate) fn add_logit_bias(&mut self) -> Result<(), FormatError> {
        self.change(&["init_logit_bias"], JsonValue::Negative(-10))
    }

    /// Chooses whether the text tower's tensors are under `text.`.
    ///
    /// # Errors
    /// A config that requires the opposite; it is then unchanged.
    pub fn set_custom_text(&mut self, custom_text: bool) -> Result<(), FormatError> {
        self.change(&["custom_text"], JsonValue::Bool(custom_text))
    }

    /// Sets the tokenizer's name.
    ///
    /// # Errors
    /// A string that is not a model name; the config is then unchanged.
    pub fn set_tokenizer_name(&mut self, name: &str) -> Result<(), FormatError> {
        self.change(&["text_cfg", "hf_tokenizer_name"], string(name))
    }

    /// Sets a Hugging Face tokenizer, and how open_clip cleans texts for it.
    ///
    /// # Errors
    /// A string that is not a model name; the config is then unchanged.
    pub fn set_tokenizer(&mut self, name: &str, clean: Clean) -> Result<(), FormatError> {
        let mut changed = self.clone();
        changed.change(&["text_cfg", "hf_tokenizer_name"], string(name))?;
        let clean = Json { offset: 0, value: string(clean.name()) };
        let arguments = JsonValue::Object(vec![("clean".to_owned(), clean)]);
        changed.change(&["text_cfg", "tokenizer_kwargs"], arguments)?;
        *self = changed;
        Ok(())
    }

    /// Sets the number of rows of the token embedding, with the ids that special tokens then have, by their keys, and the names
    /// of the trimmed tokenizer and text model, which are no longer those that the config names.
    ///
    /// # Errors
    /// A config that is then contradictory; it is then unchanged.
    pub(crate) fn set_vocabulary(
        &mut self,
        rows: usize,
        ids: &[(&str, i64)],
        [tokenizer, text_model]: [&str; 2],
    ) -> Result<(), FormatError> {
        let mut changed = self.clone();
        match &self.text.tokenizer.name {
            Some(_) => changed.set_tokenizer_name(tokenizer)?,
            None => changed.set_tokenizer(tokenizer, self.text.tokenizer.cleaning.unwrap_or(Clean::Lower))?,
        }
        changed.change(&["text_cfg", "vocab_size"], JsonValue::Unsigned(rows as u64))?;
        if let Some(tower) = &self.text.hugging_face {
            changed.change(&["text_cfg", "hf_model_name"], string(text_model))?;
            let model = self.text_model.clone().or_else(|| known(&tower.model_name).ok());
            changed.text_model = model.map(|model| TextModel { vocab_size: rows, ..model });
        }
        for (key, id) in ids {
            changed.change(&["text_cfg", key], JsonValue::Unsigned(*id as u64))?;
        }
        *self = changed;
        Ok(())
    }

    /// Takes over another model's text tower, and the form of a third one's logit scale and bias.
    ///
    /// # Errors
    /// A config that is then contradictory; it is then unchanged.
    pub(crate) fn set_text_tower(
        &mut self,
        of: &ModelConfig,
        scale: &ModelConfig,
    ) -> Result<(), FormatError> {
        let JsonValue::Object(mut members) = self.document.value.clone() else {
            unreachable!("a config is an object")
        };
        let value_in = |config: &ModelConfig, key: &str| match &config.document.value {
            JsonValue::Object(members) => members.iter().find(|(name, _)| name == key).cloned(),
            _ => None,
        };
        const SCALE: [&str; 3] = ["init_logit_scale", "init_logit_bias", "nonscalar_logit_scale"];
        let of_text = ["text_cfg", "custom_text"];
        members.retain(|(key, _)| !SCALE.contains(&key.as_str()) && !of_text.contains(&key.as_str()));
        members.extend(of_text.iter().filter_map(|key| value_in(of, key)));
        members.extend(SCALE.iter().filter_map(|key| value_in(scale, key)));
        let reads_none = self.vision.timm.is_some();
        let quick_gelu = if reads_none { of.quick_gelu } else { self.quick_gelu };
        let mut document = Json { offset: 0, value: JsonValue::Object(members) };
        set(&mut document, &["quick_gelu"], JsonValue::Bool(quick_gelu));
        let changed = ModelConfig::from_document(&document)?;
        *self = ModelConfig { folded: self.folded, text_model: of.text_model.clone(), ..changed };
        Ok(())
    }

    /// Changes the document and parses it again, so that changes obey the same rules as files.
    fn change(&mut self, path: &[&str], value: JsonValue) -> Result<(), FormatError> {
        let mut document = self.document.clone();
        set(&mut document, path, value);
        let changed = ModelConfig::from_document(&document)?;
        let text_model = self.text_model.take();
        *self = ModelConfig { folded: self.folded, text_model, ..changed };
        Ok(())
    }

    /// The model config as JSON: its original keys in their order, with `quick_gelu` and the end token that pooling needs
    /// always explicit, and without keys that have no effect and that open_clip 3.3.0 does not know.
    pub fn to_json(&self) -> String {
        pretty(&self.explicit())
    }

    /// The text of an `open_clip_config.json` as open_clip writes it, with `quick_gelu` always explicit, and with
    /// `folded` beside the model config if set.
    pub fn to_config_file(&self, preprocess: &PreprocessConfig) -> String {
        let mut members = vec![
            ("model_cfg".to_owned(), self.explicit()),
            ("preprocess_cfg".to_owned(), preprocess.document()),
        ];
        if self.folded {
            members.push((FOLDED_KEY.to_owned(), Json { offset: 0, value: JsonValue::Bool(true) }));
        }
        pretty(&Json { offset: 0, value: JsonValue::Object(members) })
    }

    fn explicit(&self) -> Json {
        let mut document = self.document.clone();
        set(&mut document, &["quick_gelu"], JsonValue::Bool(self.quick_gelu));
        if self.text.hugging_face.is_none() && self.text.pool == TextPool::Eos {
            // open_clip after 3.3.0 has no default for it.
            set(&mut document, &["text_cfg", END_KEY], JsonValue::Unsigned(self.text.eos_id as u64));
        }
        let is_modern = self.text.modern.is_some();
        // Whoever loads a ModernText tower knows all of its keys.
        for (section, key) in
            WITHOUT_EFFECT.into_iter().filter(|(section, _)| !is_modern || *section != "text_cfg")
        {
            remove(&mut document, section, key);
        }
        if !is_modern {
            super::modern_text::KEYS.into_iter().for_each(|key| remove(&mut document, "text_cfg", key));
        }
        document
    }
}

/// One side, or height and width.
fn sides([height, width]: [usize; 2]) -> JsonValue {
    if height == width {
        return JsonValue::Unsigned(height as u64);
    }
    array([height, width].map(|side| JsonValue::Unsigned(side as u64)))
}

/// Removes a key of a section, if it is there.
fn remove(json: &mut Json, section: &str, key: &str) {
    if let JsonValue::Object(members) = &mut json.value
        && let Some((_, Json { value: JsonValue::Object(section), .. })) =
            members.iter_mut().find(|(name, _)| name == section)
    {
        section.retain(|(name, _)| name != key);
    }
}

/// Sets the value at a path of keys; a new key is appended.
fn set(json: &mut Json, path: &[&str], value: JsonValue) {
    let Some((key, rest)) = path.split_first() else {
        json.value = value;
        return;
    };
    if let JsonValue::Object(members) = &mut json.value {
        let index = members.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
            members.push(((*key).to_owned(), Json { offset: 0, value: JsonValue::Object(Vec::new()) }));
            members.len() - 1
        });
        set(&mut members[index].1, rest, value);
    }
}
