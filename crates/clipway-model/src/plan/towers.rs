//! Which towers to write.

use serde::{Deserialize, Serialize};

/// Which towers to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Towers {
    /// Both: the whole model.
    #[default]
    Both,
    /// The image tower, with logit scale and bias.
    Image,
    /// The text tower, with logit scale and bias.
    Text,
}

impl Towers {
    /// Every choice.
    pub const ALL: [Towers; 3] = [Towers::Both, Towers::Image, Towers::Text];

    /// Name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Towers::Both => "both",
            Towers::Image => "image",
            Towers::Text => "text",
        }
    }

    /// Name in a sentence.
    pub(crate) const fn shown(self) -> &'static str {
        match self {
            Towers::Both => "both towers",
            Towers::Image => "the image tower",
            Towers::Text => "the text tower",
        }
    }

    /// Whether a tensor with this open_clip name is written.
    pub fn has(self, name: &str) -> bool {
        let is_image = name.starts_with("visual.");
        let is_decoder = name.starts_with("text_decoder.");
        match self {
            Towers::Both => true,
            Towers::Image => is_image || is_shared(name),
            Towers::Text => !is_image && !is_decoder,
        }
    }

    /// Whether a tensor is not needed where it is missing: the logit scale and bias compare the features of both towers.
    pub(super) fn can_lack(self, name: &str) -> bool {
        self != Towers::Both && is_shared(name)
    }

    /// The towers of tensors of open_clip's names; `None` where neither tower is there.
    pub(crate) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Option<Towers> {
        let (mut image, mut text) = (false, false);
        for name in names.filter(|name| !is_shared(name)) {
            image |= Towers::Image.has(name);
            text |= Towers::Text.has(name);
        }
        match (image, text) {
            (true, true) => Some(Towers::Both),
            (true, false) => Some(Towers::Image),
            (false, true) => Some(Towers::Text),
            (false, false) => None,
        }
    }

    /// Name of the rule that drops the other tower's tensors.
    pub(super) const fn rule(self) -> &'static str {
        match self {
            Towers::Both => "nothing is dropped",
            Towers::Image => "only the image tower is written",
            Towers::Text => "only the text tower is written",
        }
    }
}

/// Whether a tensor is of no tower.
pub(crate) fn is_shared(name: &str) -> bool {
    name.starts_with("logit_")
}
