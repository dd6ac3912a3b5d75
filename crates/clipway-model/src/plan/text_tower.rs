//! The text tower's two spellings in open_clip: at the root of `CLIP`, or under `text.` in `CustomTextCLIP`.

/// Where a state dict stores its text tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextTower {
    /// At the root, beside the image tower and the logit scale.
    Root,
    /// Under `text.`.
    Module,
}

/// First parts of the text tower's names at the root.
pub(crate) const ROOT_PARTS: [&str; 5] =
    ["text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final"];

/// The name of a tensor in a model whose text tower is at `tower`; `None` if it is not a text tower's tensor in both
/// spellings, so the name stays.
pub(crate) fn text_tower_name(name: &str, tower: TextTower) -> Option<String> {
    let is_part = |name: &str| ROOT_PARTS.contains(&name.split('.').next().unwrap_or_default());
    match tower {
        TextTower::Module => is_part(name).then(|| format!("text.{name}")),
        TextTower::Root => name.strip_prefix("text.").filter(|rest| is_part(rest)).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_the_text_tower_alone() {
        let check = |root: &str, module: &str| {
            assert_eq!(text_tower_name(root, TextTower::Module).as_deref(), Some(module));
            assert_eq!(text_tower_name(module, TextTower::Root).as_deref(), Some(root));
        };
        check("positional_embedding", "text.positional_embedding");
        check("text_projection", "text.text_projection");
        check("transformer.resblocks.0.ln_1.weight", "text.transformer.resblocks.0.ln_1.weight");
        for name in ["visual.proj", "logit_scale", "text.cls_emb", "transformers.x"] {
            let both = [TextTower::Root, TextTower::Module].map(|tower| text_tower_name(name, tower));
            assert_eq!(both, [None, None], "{name}");
        }
    }
}
