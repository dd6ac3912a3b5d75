//! The origin of the activation, which no shape shows.

use super::config::ConfigOrigin;
use crate::config::ConfigFile;
use crate::contract::{Activation, Origin};
use crate::layout::{KnownConfig, Layout};
use crate::registry::{self, Pretrained};

/// The origin of the activation, and the notes it requires.
pub(super) fn known_from(
    base: &ConfigFile,
    config: &ConfigFile,
    origin: &ConfigOrigin,
) -> (Origin, Vec<String>) {
    let taken = Activation::of(config.model.quick_gelu);
    if let ConfigOrigin::Layout(origin) = origin {
        return (Origin::Layout { why: origin.activation_from.clone() }, origin.notes.clone());
    }
    let from = origin.of_key("quick_gelu", base.model.states_quick_gelu());
    let note = match origin {
        ConfigOrigin::Named(name) => twin(name).map(|twin| {
            format!(
                "`{name}` and `{twin}` have the same shapes but different activations: {taken} was used, \
                 because `{name}` was given"
            )
        }),
        ConfigOrigin::Tag(entry) => other_training(entry, taken),
        ConfigOrigin::OnlyFit(name) => Some(format!(
            "`{name}` is the only registered model with these shapes; its activation, {taken}, was used"
        )),
        ConfigOrigin::File(_) | ConfigOrigin::Given | ConfigOrigin::Beside | ConfigOrigin::Layout(_) => None,
    };
    (from, note.into_iter().collect())
}

/// The note if weights were trained with another activation than their architecture's, which open_clip computes too.
fn other_training(entry: &Pretrained, taken: Activation) -> Option<String> {
    let Pretrained { model, tag, .. } = entry;
    let trained = Activation::of(entry.quick_gelu);
    if trained == taken {
        return None;
    }
    let there = twin(model).filter(|twin| registry::tag(twin, tag).is_ok());
    let instead = there.map(|twin| format!("; `{twin}` has it")).unwrap_or_default();
    Some(format!(
        "the tag `{tag}` was trained with {trained}{instead}: {taken} was used, as in open_clip, because `{model}` was given"
    ))
}

/// The note if the model was given although the layout states one.
pub(super) fn not_used(layout: &Layout, told: &KnownConfig, config: &ConfigFile) -> Option<String> {
    let [ours, theirs] = [config, &told.config].map(|config| Activation::of(config.model.quick_gelu));
    (ours != theirs).then(|| {
        format!("the given model uses {ours}, but {} says {theirs} ({})", layout.title, told.activation_from)
    })
}

/// The registered model that differs only in the activation.
fn twin(name: &str) -> Option<String> {
    let twin = match name.strip_suffix("-quickgelu") {
        Some(plain) => plain.to_owned(),
        None => format!("{name}-quickgelu"),
    };
    registry::names().any(|known| known == twin).then_some(twin)
}
