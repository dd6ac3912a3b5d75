//! Models inside other modules: wrapper parts in names, prefixes, and tensors next to the model.

use clipway_model::checkpoint::Checkpoint;
use clipway_model::plan::{Fate, Towers};
use clipway_model::source::{Source, SourceError, SourceOptions};
use clipway_model::state_dict::{LeftOutKind, Selection, WeightsChoice};

use crate::bench::Bench;

/// Resolves the small model under these names, with extra tensors next to it.
fn resolved(
    rename: impl Fn(&str) -> Vec<String>,
    beside: &[&str],
    selection: Selection,
) -> Result<Source, SourceError> {
    let mut bench = Bench::new();
    let mut tensors = Vec::new();
    for (info, bytes) in &bench.tensors {
        for name in rename(&info.name) {
            let mut info = info.clone();
            info.name = name;
            tensors.push((info, bytes.clone()));
        }
    }
    let scale = bench.find("logit_scale").clone();
    for name in beside {
        let mut one = scale.clone();
        one.0.name = (*name).to_owned();
        tensors.push(one);
    }
    bench.tensors = tensors;
    let options = SourceOptions { selection, ..bench.options() };
    Source::of(Checkpoint::open(bench.write_source("wrapped.safetensors")).unwrap(), &options)
}

fn under(prefix: &str) -> Selection {
    Selection { under: Some(prefix.to_owned()), ..Selection::default() }
}

fn ignore(pattern: &str) -> Selection {
    Selection { ignore: vec![pattern.to_owned()], ..Selection::default() }
}

#[test]
fn a_model_under_one_prefix_is_found_and_what_lies_beside_it_is_left_out() {
    for prefix in ["clip_model", "clipmodel", "model.clip", "image_encoder.model", "student.backbone.net"] {
        let rename = |name: &str| vec![format!("{prefix}.{name}")];
        let source = resolved(rename, &["ff_head.weight", "loss.scale"], Selection::default()).unwrap();
        assert_eq!(source.layout().name, "open_clip", "{prefix}");
        assert_eq!(source.weights().path.join("."), prefix);
        let left: Vec<_> =
            source.weights().left_out.iter().map(|part| (part.path.as_str(), part.kind)).collect();
        assert_eq!(left, [("ff_head", LeftOutKind::Other), ("loss", LeftOutKind::Loss)], "{prefix}");
        let note = format!("the model is under the prefix `{prefix}`; 2 other tensors are left out");
        assert!(source.notes().contains(&note), "{:?}", source.notes());
        let dropped = source.ledger().groups.iter().filter(|group| group.fate == Fate::Dropped);
        assert_eq!(dropped.map(|group| group.tensors).sum::<usize>(), 2);
    }
}

#[test]
fn several_models_are_named_and_one_can_be_chosen() {
    let rename = |name: &str| vec![format!("student.{name}"), format!("teacher.{name}")];
    let error = resolved(rename, &["sink_temp"], Selection::default()).unwrap_err();
    assert_eq!(error.code(), "ambiguous");
    assert!(error.to_string().ends_with("the weights could be under `student` and `teacher`"), "{error}");
    let source = resolved(rename, &["sink_temp"], under("teacher")).unwrap();
    assert_eq!(source.weights().path, ["teacher"]);
    // Names from which the selection of the weights would also have to choose.
    let rename = |name: &str| vec![format!("model.{name}"), format!("net.{name}")];
    assert_eq!(resolved(rename, &[], Selection::default()).unwrap_err().code(), "ambiguous");
    assert_eq!(resolved(rename, &[], under("net.")).unwrap().weights().path, ["net"]);
    // The average is used only on request.
    let rename = |name: &str| vec![format!("clip.{name}"), format!("clip_ema.{name}")];
    assert_eq!(resolved(rename, &["head.weight"], Selection::default()).unwrap().weights().path, ["clip"]);
}

#[test]
fn parts_of_names_that_wrappers_put_in_are_removed_anywhere() {
    let wrappers = ["_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "module"];
    for wrapper in wrappers {
        let rename = |name: &str| match name.strip_prefix("visual.") {
            Some(rest) => {
                vec![format!("visual.{wrapper}.{}", rest.replace("mlp.", &format!("mlp.{wrapper}.")))]
            }
            None => vec![name.to_owned()],
        };
        let source = resolved(rename, &[], Selection::default()).unwrap();
        assert_eq!((source.layout().name, source.weights().left_out.len()), ("open_clip", 0), "{wrapper}");
    }
    let rename = |name: &str| vec![format!("visual._orig_mod.{name}"), format!("visual.{name}")];
    let error = resolved(rename, &[], Selection::default()).unwrap_err();
    assert_eq!(error.code(), "duplicate", "{error}");
}

#[test]
fn tensors_are_ignored_on_request_only() {
    let rename = |name: &str| vec![name.to_owned()];
    let error = resolved(rename, &["head.weight"], Selection::default()).unwrap_err();
    assert!(error.to_string().contains("`head.weight`"), "{error}");
    let source = resolved(rename, &["head.weight"], ignore("head.*")).unwrap();
    let left = &source.weights().left_out[0];
    assert_eq!((left.kind, left.path.as_str()), (LeftOutKind::Ignored, "head"));
    let ignored = source.ledger().groups.iter().find(|group| group.rule == "ignored on request").unwrap();
    assert_eq!((ignored.fate, ignored.tensors), (Fate::Dropped, 1));
}

#[test]
fn prefixes_and_patterns_that_fit_nothing_are_refused() {
    let rename = |name: &str| vec![name.to_owned()];
    let error = resolved(rename, &[], under("student")).unwrap_err();
    assert_eq!(error.code(), "missing");
    assert!(
        error.to_string().contains("no tensor name begins with `student.`; names begin with `"),
        "{error}"
    );
    let error = resolved(rename, &[], ignore("heads.*")).unwrap_err();
    assert!(error.to_string().ends_with("no tensor name matches `heads.*`"), "{error}");
    // What the model needs cannot be ignored.
    let error = resolved(rename, &[], ignore("ln_final.*")).unwrap_err();
    assert!(error.to_string().contains("ln_final.weight"), "{error}");
}

#[test]
fn one_tower_alone_needs_no_logit_scale_and_must_be_asked_for() {
    let towers = [(Towers::Image, "visual."), (Towers::Text, "")];
    for (tower, prefix) in towers {
        let mut bench = Bench::new();
        bench.tensors.retain(|(info, _)| {
            let is_image = info.name.starts_with("visual.");
            info.name != "logit_scale" && if prefix.is_empty() { !is_image } else { is_image }
        });
        let path = bench.write_source("one.safetensors");
        let resolve = |tower| Source::resolve(&path, &SourceOptions { tower, ..bench.options() });
        let source = resolve(Some(tower)).unwrap();
        assert_eq!((source.tower(), source.plan().tensors.len()), (tower, bench.tensors.len()));
        assert_eq!(source.whole_contract().unwrap().logit_scale, None);
        assert_eq!(resolve(None).unwrap().tower(), tower);
        for other in [Towers::Both, if tower == Towers::Image { Towers::Text } else { Towers::Image }] {
            let error = resolve(Some(other)).unwrap_err();
            assert!(
                error.to_string().contains(&format!("has only the {} tower, not", tower.name())),
                "{error}"
            );
        }
    }
}

/// The small model's names with the two towers under prefixes of their own.
fn split<'a>(image: &'a str, text: &'a str, scale: &'a str) -> impl Fn(&str) -> Vec<String> + 'a {
    move |name: &str| {
        let name = match name.strip_prefix("visual.") {
            Some(rest) => format!("{image}{rest}"),
            None if name == "logit_scale" => format!("{scale}{name}"),
            None => format!("{text}{name}"),
        };
        vec![name]
    }
}

#[test]
fn towers_under_prefixes_of_their_own_are_one_model() {
    let whole = Bench::new().tensors.len();
    for (image, text, scale) in [
        ("image_model.visual.", "text_model_.", ""),
        ("backbone.visual.", "backbone_text.clip.", "head."),
        // The image tower's own module, which has no `visual.`.
        ("image_encoder.", "text_encoder.", ""),
        ("image_encoder.", "text_encoder.", "text_encoder."),
        // DeCLIP's code, whose image tower has no prefix.
        ("visual.", "encode_text.", ""),
        // TinyCLIP's code, with and without data parallel.
        ("_image_encoder.visual.", "_text_encoder.", "_logit_scale."),
        ("_image_encoder.module.visual.", "_text_encoder.module.", "_logit_scale.module."),
    ] {
        let source = resolved(split(image, text, scale), &["head.weight", "ff.bias"], Selection::default());
        let source = source.unwrap_or_else(|error| panic!("{image} {text}: {error}"));
        assert_eq!(source.plan().tensors.len(), whole, "{image} {text}");
        assert_eq!(source.tower(), Towers::Both);
        let note = |name: &str| match name {
            "visual." => "visual".to_owned(),
            name => name.trim_end_matches("visual.").trim_end_matches('.').replace(".module", ""),
        };
        let expected = format!(
            "the image tower is under `{}`, the text tower under `{}`; 2 other tensors are left out",
            note(image),
            note(text)
        );
        assert!(source.notes().contains(&expected), "{expected}: {:?}", source.notes());
    }
    // Of two numbers neither is taken.
    let error = resolved(split("a.visual.", "b.", ""), &["b.logit_scale"], Selection::default()).unwrap_err();
    assert!(matches!(error.code(), "duplicate" | "missing" | "mismatch"), "{error}");
    // Two image towers are two candidates.
    let rename = |name: &str| match name.strip_prefix("visual.") {
        Some(rest) => vec![format!("a.visual.{rest}"), format!("b.visual.{rest}")],
        None => vec![],
    };
    let error = resolved(rename, &[], Selection::default()).unwrap_err();
    assert_eq!(error.code(), "ambiguous", "{error}");
}

#[test]
fn an_image_tower_saved_without_its_name_is_found() {
    for prefix in ["", "encoder.", "model.image_encoder."] {
        let rename = |name: &str| match name.strip_prefix("visual.") {
            Some(rest) => vec![format!("{prefix}{rest}")],
            None => vec![],
        };
        let source = resolved(rename, &[], Selection::default()).unwrap();
        assert_eq!((source.layout().name, source.tower()), ("open_clip", Towers::Image), "{prefix}");
    }
}

#[test]
fn averaged_weights_under_a_prefix_are_taken_on_request() {
    let ema = |choice| Selection { choice: Some(choice), ..Selection::default() };
    for prefix in ["model_ema.clip", "ema_model", "clip_ema.module", "net.ema.clip"] {
        let rename = |name: &str| vec![format!("raw.{name}"), format!("{prefix}.{name}")];
        let source = resolved(rename, &["head.weight"], ema(WeightsChoice::Ema)).unwrap();
        let weights = source.weights();
        assert_eq!((weights.choice, weights.has_both), (WeightsChoice::Ema, true), "{prefix}");
        assert_eq!(weights.path.join("."), prefix.trim_end_matches(".module"));
        assert_eq!(source.plan().tensors.len(), Bench::new().tensors.len());
        let source = resolved(rename, &["head.weight"], Selection::default()).unwrap();
        assert_eq!(
            (source.weights().choice, source.weights().path.join(".")),
            (WeightsChoice::Raw, "raw".to_owned())
        );
        // Without raw weights the average is the model.
        let rename = |name: &str| vec![format!("{prefix}.{name}")];
        let source = resolved(rename, &["head.weight"], Selection::default()).unwrap();
        assert_eq!(source.weights().choice, WeightsChoice::Ema, "{prefix}");
        let error = resolved(rename, &["head.weight"], ema(WeightsChoice::Raw)).unwrap_err();
        assert_eq!(error.code(), "missing", "{error}");
    }
}

#[test]
fn weights_that_are_still_being_pruned_are_refused() {
    let beside = ["_image_encoder.l0_module.lambda_1", "head.weight"];
    let error = resolved(
        split("_image_encoder.visual.", "_text_encoder.", "_logit_scale."),
        &beside,
        Selection::default(),
    );
    let error = error.unwrap_err();
    assert_eq!(error.code(), "unsupported");
    assert!(
        error.to_string().contains("the weights are not pruned yet: `_image_encoder.l0_module."),
        "{error}"
    );
}

#[test]
fn a_logit_bias_that_the_config_does_not_state_is_kept() {
    let own = |name: &str| vec![name.to_owned()];
    let source = resolved(own, &["logit_bias"], Selection::default()).unwrap();
    assert_eq!(source.config().model.init_logit_bias, Some(-10.0));
    assert!(source.model().logit_bias.is_some());
    let says = |note: &String| {
        note.starts_with("the weights have a `logit_bias`, as those trained with SigLIP's loss")
    };
    assert_eq!(source.notes().iter().filter(|note| says(note)).count(), 1, "{:?}", source.notes());
    assert_eq!(source.ledger().dropped().count(), 0);
    let plain = resolved(own, &[], Selection::default()).unwrap();
    assert!(plain.config().model.init_logit_bias.is_none() && !plain.notes().iter().any(says));
}
