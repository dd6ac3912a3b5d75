//! Which towers are written.

use serde::{Deserialize, Serialize};

/// Which towers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tower {
    /// Both: the whole model.
    #[default]
    Both,
    /// The image tower, with logit scale and bias.
    Image,
    /// The text tower, with logit scale and bias.
    Text,
}

impl Tower {
    /// Every choice.
    pub const ALL: [Tower; 3] = [Tower::Both, Tower::Image, Tower::Text];

    /// Name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Tower::Both => "both",
            Tower::Image => "image",
            Tower::Text => "text",
        }
    }

    /// Whether a tensor of open_clip's name is written.
    pub fn has(self, name: &str) -> bool {
        let is_image = name.starts_with("visual.");
        let is_decoder = name.starts_with("text_decoder.");
        let is_shared = name.starts_with("logit_");
        match self {
            Tower::Both => true,
            Tower::Image => is_image || is_shared,
            Tower::Text => !is_image && !is_decoder,
        }
    }

    /// Name of the rule by which tensors of the other tower are dropped.
    pub(super) const fn rule(self) -> &'static str {
        match self {
            Tower::Both => "nothing is left out",
            Tower::Image => "only the image tower is written",
            Tower::Text => "only the text tower is written",
        }
    }
}
