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

    /// Whether a tensor with this open_clip name is written.
    pub fn has(self, name: &str) -> bool {
        let is_image = name.starts_with("visual.");
        let is_decoder = name.starts_with("text_decoder.");
        let is_shared = name.starts_with("logit_");
        match self {
            Towers::Both => true,
            Towers::Image => is_image || is_shared,
            Towers::Text => !is_image && !is_decoder,
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
