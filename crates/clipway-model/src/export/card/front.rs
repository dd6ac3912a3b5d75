//! The front matter of a card.

use crate::artifact::Artifact;
use crate::config::ConfigFile;
use crate::front_matter::{FrontMatter, Value};
use crate::license::{is_license_file, is_on_hub};
use crate::plan::Towers;
use crate::spelling::Spelling;

/// The front matter of an artifact's card.
pub(super) fn front_matter(artifact: &Artifact, config: &ConfigFile, spelling: &Spelling) -> FrontMatter {
    let mut front = FrontMatter::default();
    set_license(&mut front, artifact);
    front.set("library_name", spelling.library);
    front.set(
        "pipeline_tag",
        match artifact.model.towers {
            Towers::Both => "zero-shot-image-classification",
            Towers::Image => "image-feature-extraction",
            Towers::Text => "feature-extraction",
        },
    );
    if let Some(hub) = &artifact.source.hub {
        front.set("base_model", &hub.repository);
        if artifact.quantization.is_some() {
            front.set("base_model_relation", "quantized");
        }
    }
    let mut tags = vec!["clip"];
    tags.extend(config.model.init_logit_bias.map(|_| "siglip"));
    tags.extend(config.model.multimodal.as_ref().map(|_| "coca"));
    tags.extend(spelling.has_graphs().then_some("onnx"));
    tags.push("clipway");
    front.set_list("tags", &tags.into_iter().map(str::to_owned).collect::<Vec<_>>());
    front
}

/// Sets the license: by its identifier if the Hub has one, else by its name and address.
pub(super) fn set_license(front: &mut FrontMatter, artifact: &Artifact) {
    let Some((license, terms)) = artifact.contract.license_and_terms() else { return };
    let license = license.value.as_str();
    if is_on_hub(license) {
        front.set("license", license);
        return;
    }
    front.set("license", "other");
    if let Some(name) = terms.name.as_deref().or((license != "other").then_some(license)) {
        front.set("license_name", &hyphenated(name));
    }
    let file = artifact.files.keys().find(|name| is_license_file(name)).cloned();
    if let Some(link) = terms.link.or(file) {
        front.set("license_link", &link);
    }
}

/// A name as the Hub takes it: lower case, without spaces.
fn hyphenated(name: &str) -> String {
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || "-._+".contains(c) { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(plain).collect();
    name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// What the Hub would not accept in front matter, or a reader would miss.
pub fn problems(front: &FrontMatter) -> Vec<String> {
    let mut problems = Vec::new();
    match front.text("license") {
        None => problems.push("it states no `license`".to_owned()),
        Some("other") if front.text("license_name").is_none() => {
            problems.push("`license: other` needs a `license_name` and a `license_link`".to_owned());
        }
        Some(license) if license != "other" && license != "unknown" && !is_on_hub(license) => {
            let license = clipway_formats::shown(license);
            problems.push(format!(
                "the Hub has no license `{license}`: it takes `license: other` with a `license_name`"
            ));
        }
        Some(_) => {}
    }
    for key in ["library_name", "pipeline_tag"] {
        let is_word = |text: &str| {
            text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c)) && !text.is_empty()
        };
        if front.get(key).is_some() && !front.text(key).is_some_and(is_word) {
            problems.push(format!("`{key}` is not one word"));
        }
    }
    let bases: &[String] = match front.get("base_model") {
        Some(Value::Scalar(base)) => std::slice::from_ref(base),
        Some(Value::List(bases)) => bases,
        _ => &[],
    };
    for base in
        bases.iter().filter(|base| base.matches('/').count() > 1 || base.contains(char::is_whitespace))
    {
        problems.push(format!(
            "`base_model`: `{}` is not the name of a repository",
            clipway_formats::shown(base)
        ));
    }
    if matches!(front.get("tags"), Some(Value::Scalar(_) | Value::Other)) {
        problems.push("`tags` is not a list".to_owned());
    }
    problems
}
