//! Where the activation is known from, which no shape shows.

use super::config::ConfigOrigin;
use crate::config::ConfigFile;
use crate::contract::{Activation, Origin};
use crate::layout::{KnownConfig, Layout};
use crate::registry;

/// Where the activation is known from, and what must be said about it.
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
                "`{name}` and `{twin}` have the same shapes and differ in the activation: {taken} was taken, \
                 because `{name}` was given"
            )
        }),
        ConfigOrigin::OnlyFit(name) => Some(format!(
            "`{name}` is the only registered model with these shapes; its activation, {taken}, was taken"
        )),
        ConfigOrigin::File(_) | ConfigOrigin::Given | ConfigOrigin::Beside | ConfigOrigin::Layout(_) => None,
    };
    (from, note.into_iter().collect())
}

/// What must be said where the model was given although the layout gives one.
pub(super) fn not_used(layout: &Layout, told: &KnownConfig, config: &ConfigFile) -> Option<String> {
    let [ours, theirs] = [config, &told.config].map(|config| Activation::of(config.model.quick_gelu));
    (ours != theirs).then(|| {
        format!(
            "the model that was given has {ours}, but {} says {theirs} ({})",
            layout.title, told.activation_from
        )
    })
}

/// The registered model that differs in the activation alone.
fn twin(name: &str) -> Option<String> {
    let twin = match name.strip_suffix("-quickgelu") {
        Some(plain) => plain.to_owned(),
        None => format!("{name}-quickgelu"),
    };
    registry::names().any(|known| known == twin).then_some(twin)
}
