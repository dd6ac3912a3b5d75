//! open_clip's own vision transformer, trained by its main branch with `--use-naflex` (`force_naflex_vision`): as timm's
//! `NaFlexVit`, in that one's names.
//!
//! It is the same network: the first position went into the class token, so the first position is zero here. The names and
//! the sum are taken from `open_clip/naflex_convert.py`.

use super::names::{Blocks, Change, NameTable};
use super::{Conversion, Layout, naflex, open_clip};
use crate::plan::{Converted, StepError};
use crate::state_dict::StateDict;

/// Name of the layout.
pub(crate) const NAME: &str = "open_clip_naflex";

/// The layout.
pub(super) static LAYOUT: Layout = Layout {
    name: NAME,
    title: "an open_clip vision transformer trained as NaFlex (`force_naflex_vision`)",
    recognizes: |tensors| MARKS.iter().all(|name| tensors.find(name).is_some()),
    conversion: Conversion::Steps(convert),
    known_config: None,
    check_numbers: None,
};

/// No other tower for any proportions has a class token, a norm before the blocks and a projection without a bias.
const MARKS: [&str; 4] = [
    "visual.trunk.embeds.cls_token",
    "visual.trunk.embeds.pos_embed",
    "visual.trunk.norm_pre.weight",
    "visual.head.proj.weight",
];

/// timm's names with open_clip's.
static NAMES: NameTable = NameTable {
    tensors: &[("visual.head.proj.weight", "visual.proj", Change::Transposed)],
    modules: &[("visual.trunk.norm_pre.", "visual.ln_pre."), ("visual.trunk.norm.", "visual.ln_post.")],
    poolers: &[],
    blocks: &[Blocks {
        theirs: "visual.trunk.blocks.",
        ours: "visual.transformer.resblocks.",
        modules: &[
            ("norm1.", "ln_1."),
            ("norm2.", "ln_2."),
            ("ls1.", "ls_1."),
            ("ls2.", "ls_2."),
            ("attn.qkv.", "attn.in_proj_"),
            ("attn.proj.", "attn.out_proj."),
            ("mlp.fc1.", "mlp.c_fc."),
            ("mlp.fc2.", "mlp.c_proj."),
        ],
        projections: ["attn.q_proj.", "attn.k_proj.", "attn.v_proj."],
        fused: "attn.in_proj_",
    }],
    leftovers: &[],
};

fn convert(state_dict: &StateDict) -> Result<Converted, StepError> {
    let converted = NAMES.to_open_clip(state_dict)?;
    naflex::as_open_clip(converted)
}

/// The tensors under the names of timm's tower for one size, in each form that it could have: none for tensors that are not a
/// NaFlex tower's. `converted` are the tensors under open_clip's names.
///
/// # Errors
/// A tensor of another shape.
pub(crate) fn plain_forms(
    layout: &Layout,
    state_dict: &StateDict,
    converted: &Converted,
) -> Result<Vec<Converted>, StepError> {
    if layout.name == NAME {
        // timm has CLIP's tower too, with the same names.
        return naflex::plain_forms(&open_clip::convert(state_dict)?);
    }
    naflex::plain_forms(converted)
}
