//! open_clip's `CustomTextCLIP`: image tower under `visual.`, text tower under `text.`.

use super::{Conversion, Layout, has_prefix, open_clip};
use crate::state_dict::StateDict;

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: "open_clip_custom_text",
    title: "open_clip CustomTextCLIP",
    recognizes,
    conversion: Conversion::Steps(open_clip::convert),
    known_config: None,
    check_numbers: None,
};

/// Both towers, or the text tower alone.
fn recognizes(state_dict: &StateDict) -> bool {
    let beside = ["visual.", "text.token_embedding.", "text.transformer.", "text.blocks."];
    has_prefix(state_dict, "text.") && beside.into_iter().any(|prefix| has_prefix(state_dict, prefix))
}
