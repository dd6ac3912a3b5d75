//! What to do about tensors that do not match a model.

use clipway_formats::shown;
use clipway_model::differences::{Differences, Mismatch as Shape};
use clipway_model::identify::{CloseFit, Identification, NearFit};
use clipway_model::source::Mismatch;

/// What to do about a mismatch.
pub(super) fn of_mismatch(mismatch: &Mismatch) -> Option<String> {
    let Differences { numbers, .. } = &mismatch.differences;
    if !numbers.is_empty() && numbers.len() == mismatch.differences.iter().count() {
        let hint = "if the shapes are right, save the weights without these numbers; nothing needs them";
        return Some(hint.to_owned());
    }
    let unused = &mismatch.differences.unused;
    if !unused.is_empty() && unused.len() == mismatch.differences.iter().count() {
        return Some(format!(
            "if the model does not need them, leave them out, such as with {}",
            ignored(unused.iter().map(|tensor| tensor.name.as_str()))
        ));
    }
    let hint = of_identification(&mismatch.identification, mismatch.given.as_deref());
    hint.or_else(|| of_sizes(&mismatch.differences)).or_else(|| of_one_tower(&mismatch.differences))
}

/// Tables whose first dimension is a number of the config.
const TABLES: [(&str, &str); 4] = [
    ("positional_embedding", "text_cfg.context_length"),
    ("text.positional_embedding", "text_cfg.context_length"),
    ("token_embedding.weight", "text_cfg.vocab_size"),
    ("text.token_embedding.weight", "text_cfg.vocab_size"),
];

/// The numbers to change in a config, where nothing but the lengths of tables differs.
fn of_sizes(differences: &Differences) -> Option<String> {
    let said = |different: &Shape| {
        let is_length = different.expected[1..] == different.found[1..];
        let (_, key) = TABLES.iter().find(|(name, _)| *name == different.name && is_length)?;
        Some(format!("`{key}` is {}", different.found.first()?))
    };
    if differences.mismatched.len() != differences.iter().count() {
        return None;
    }
    let said = differences.mismatched.iter().map(said).collect::<Option<Vec<_>>>()?;
    (!said.is_empty()).then(|| format!("by the weights, {}; pass a config that says so", said.join(" and ")))
}

/// The tower that is whole, where nothing but tensors of the other is missing.
fn of_one_tower(differences: &Differences) -> Option<String> {
    let is_image = |name: &str| name.starts_with("visual.");
    let missing = &differences.missing;
    let scale = |name: &str| name.starts_with("logit_");
    if missing.is_empty() || missing.len() != differences.iter().count() {
        return None;
    }
    let towers = |image: bool| missing.iter().any(|one| !scale(&one.name) && is_image(&one.name) == image);
    match (towers(true), towers(false)) {
        (true, true) => None,
        (false, true) => Some("the image tower is whole; pass `--tower image` to use it alone".to_owned()),
        (true, false) => Some("the text tower is whole; pass `--tower text` to use it alone".to_owned()),
        (false, false) => {
            Some("both towers are whole; pass `--tower image` or `--tower text` to use one".to_owned())
        }
    }
}

/// Modules of a model, which are not left out whole.
const MODULES: [&str; 13] = [
    "visual",
    "text",
    "transformer",
    "trunk",
    "head",
    "resblocks",
    "blocks",
    "encoder",
    "layer",
    "stages",
    "attn",
    "mlp",
    "embeddings",
];

/// The options that leave out tensors: up to the first module of their names that is not the model's own, in every block.
fn ignored<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const MOST: usize = 4;
    let mut options: Vec<String> = Vec::new();
    for name in names {
        let parts: Vec<&str> = name.split('.').collect();
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let own = parts.iter().take_while(|part| MODULES.contains(part) || is_number(part)).count();
        let mut kept: Vec<String> = parts
            .iter()
            .take(own + 1)
            .map(|part| if is_number(part) { "*".to_owned() } else { shown(part) })
            .collect();
        if own + 1 < parts.len() {
            kept.push("*".to_owned());
        }
        let option = format!("--ignore '{}'", kept.join("."));
        if options.len() < MOST && !options.contains(&option) {
            options.push(option);
        }
    }
    format!("`{}`", options.join(" "))
}

/// The options that name a model at the size of the tensors.
fn options_of(near: &NearFit) -> String {
    let mut options = format!("--model {}", near.name);
    if let Some([height, width]) = near.image_size {
        let size = if height == width { height.to_string() } else { format!("{height}x{width}") };
        options.push_str(&format!(" --image-size {size}"));
    }
    if let Some(length) = near.context_length {
        options.push_str(&format!(" --context-length {length}"));
    }
    options
}

/// The options for a matching model other than the given one.
pub(super) fn of_identification(identification: &Identification, given: Option<&str>) -> Option<String> {
    let names = identification.names();
    match (&names[..], &identification.near[..]) {
        ([name], _) => Some(format!("the shapes match `{name}`; pass `--model {name}`")),
        ([], []) => {
            let closest = &identification.closest;
            let first = closest.first()?;
            let is_given =
                |close: &CloseFit| close.differences == first.differences && Some(close.name) == given;
            (!closest.iter().any(is_given))
                .then(|| format!("pass `--model {}` to see which tensors differ", first.name))
        }
        ([], [near, ..]) => Some(format!("pass `{}`, which matches the shapes", options_of(near))),
        (names, _) => {
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            Some(format!("the shapes match {}; pass one of them with `--model`", quoted.join(" and ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use clipway_model::architecture::build;
    use clipway_model::identify::identify;
    use clipway_model::registry;

    use super::*;

    #[test]
    fn only_what_is_not_the_models_is_left_out() {
        let check = |names: &[&str], expected: &str| assert_eq!(ignored(names.iter().copied()), expected);
        check(&["classifier.weight", "classifier.bias"], "`--ignore 'classifier.*'`");
        check(&["visual.classifier.weight"], "`--ignore 'visual.classifier.*'`");
        check(&["visual.head.weight"], "`--ignore 'visual.head.weight'`");
        let adapters = [
            "visual.transformer.resblocks.0.adapter.up.weight",
            "visual.transformer.resblocks.1.adapter.up.bias",
        ];
        check(&adapters, "`--ignore 'visual.transformer.resblocks.*.adapter.*'`");
        check(&["criterion.labels", "metric.total"], "`--ignore 'criterion.*' --ignore 'metric.*'`");
        check(&["step"], "`--ignore 'step'`");
    }

    /// Names and shapes of `ViT-B-32`, with one of them changed or, without a shape, removed.
    fn changed(name: &str, shape: Option<[usize; 2]>) -> Identification {
        let parameters = build(&registry::model("ViT-B-32").unwrap()).unwrap().parameters;
        let mut tensors: Vec<(String, Vec<usize>)> = parameters
            .in_state_dict_order()
            .into_iter()
            .map(|id| (parameters.get(id).name.clone(), parameters.get(id).shape.clone()))
            .collect();
        match shape {
            Some(shape) => tensors.iter_mut().find(|(n, _)| n == name).unwrap().1 = shape.to_vec(),
            None => tensors.retain(|(n, _)| n != name),
        }
        identify(tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())))
    }

    #[test]
    fn what_names_and_shapes_match_is_hinted_at_unless_it_was_given() {
        let check = |identification: &Identification, given: Option<&str>, expected: Option<&str>| {
            assert_eq!(of_identification(identification, given).as_deref(), expected);
        };
        let square = changed("visual.positional_embedding", Some([9 * 9 + 1, 768]));
        check(&square, None, Some("pass `--model ViT-B-32 --image-size 288`, which matches the shapes"));
        let longer = changed("positional_embedding", Some([80, 512]));
        check(&longer, None, Some("pass `--model ViT-B-32 --context-length 80`, which matches the shapes"));
        let without = changed("ln_final.bias", None);
        check(&without, Some("ViT-B-16"), Some("pass `--model ViT-B-32` to see which tensors differ"));
        // The differences from the nearest model are listed already.
        check(&without, Some("ViT-B-32"), None);
        check(&without, Some("ViT-B-32-quickgelu"), None);
    }
}
