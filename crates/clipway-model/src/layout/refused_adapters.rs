//! Adapters in other names than PEFT's, and prompts without a model, which are recognized by name and refused.

use super::{Conversion, Layout};
use crate::state_dict::StateDict;

/// A LoRA in the names of diffusers or of sd-scripts.
pub(super) static LORA: Layout = Layout {
    name: "lora_other",
    title: "a LoRA in the names of diffusers or sd-scripts",
    recognizes: |tensors| {
        holds(tensors, &[".lora_down.", ".lora_up.", ".lora_linear_layer.", "_lora.down.", "_lora.up."])
    },
    conversion: Conversion::Refused(
        "only adapters in PEFT's names are merged; put it into the model with diffusers' `fuse_lora` and save the text encoder",
    ),
    known_config: None,
    check_numbers: None,
};

/// An adapter of another kind than LoRA.
pub(super) static ADAPTER: Layout = Layout {
    name: "adapter_other",
    title: "an adapter of another kind than LoRA (LoHa, LoKr, OFT, IA3 or VeRA)",
    recognizes: |tensors| {
        holds(
            tensors,
            &[".hada_w1_", ".lokr_w1", ".oft_r", ".oft_blocks", ".boft_R", ".ia3_l", ".vera_lambda_"],
        )
    },
    conversion: Conversion::Refused("it is not merged here; merge it with PEFT's `merge_and_unload()`"),
    known_config: None,
    check_numbers: None,
};

/// The prompts that CoOp and its relatives learn, without the model that they are for.
pub(super) static PROMPTS: Layout = Layout {
    name: "learned_prompts",
    title: "learned prompts (CoOp) without a model",
    recognizes: |tensors| {
        let ends = |end: &str| {
            tensors.tensors().iter().any(|tensor| {
                tensor.name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
        };
        ends("ctx") && (ends("token_prefix") || ends("token_suffix")) && tensors.tensors().len() < 20
    },
    conversion: Conversion::Refused(
        "it replaces the words of a prompt by vectors, which no text gives; its model is the CLIP that it was learned with",
    ),
    known_config: None,
    check_numbers: None,
};

/// Whether any tensor's name has one of these parts.
fn holds(tensors: &StateDict, parts: &[&str]) -> bool {
    tensors.tensors().iter().any(|tensor| parts.iter().any(|part| tensor.name.contains(part)))
}
