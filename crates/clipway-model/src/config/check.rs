//! Checks that config values are consistent.

use clipway_formats::FormatError;

use super::vision::{PositionalEmbedding, VisionConfig, VisionLayers};
use super::{BlockConfig, BlockKind, ModelConfig, TextConfig, bad, limits};

impl ModelConfig {
    pub(super) fn check_at(&self, path: &str) -> Result<(), FormatError> {
        if self.vision.timm.is_none() {
            check_vision(&self.vision, self.embed_dim, &format!("{path}.vision_cfg"))?;
        }
        if self.text.hugging_face.is_none() {
            check_text(&self.text, &format!("{path}.text_cfg"))?;
            if !self.text.projection && self.text.width != self.embed_dim {
                let cause = format!(
                    "without a projection, the text tower's width {} must equal the embedding's width {}",
                    self.text.width, self.embed_dim
                );
                return Err(bad(path, "text_cfg.proj_type", cause));
            }
        }
        if let Some(multimodal) = &self.multimodal {
            if self.text.modern.is_some() {
                let cause = "a CoCa has no ModernText tower".to_owned();
                return Err(bad(path, "text_cfg.text_arch", cause));
            }
            check_text(&multimodal.text, &format!("{path}.multimodal_cfg"))?;
            if !self.uses_custom_text() {
                let cause = "a multimodal decoder needs `custom_text`".to_owned();
                return Err(bad(path, "multimodal_cfg", cause));
            }
        }
        Ok(())
    }
}

fn check_vision(vision: &VisionConfig, embed_dim: usize, path: &str) -> Result<(), FormatError> {
    let VisionConfig { width, head_width, image_size: [height, breadth], .. } = *vision;
    if let VisionLayers::Stages(_) = vision.layers {
        if !width.is_multiple_of(2) {
            return Err(bad(path, "width", format!("expected an even width of a ResNet, found {width}")));
        }
        if !(width * 32).is_multiple_of(head_width) {
            let cause = format!("{head_width} does not divide {}, the ResNet's last width", width * 32);
            return Err(bad(path, "head_width", cause));
        }
        if height != breadth || height < 32 {
            let cause =
                format!("expected a square of at least 32 pixels for a ResNet, found {height}x{breadth}");
            return Err(bad(path, "image_size", cause));
        }
        return Ok(());
    }
    if !width.is_multiple_of(head_width) {
        return Err(bad(path, "head_width", format!("{head_width} does not divide the width {width}")));
    }
    check_mlp(width, vision.mlp_ratio, path)?;
    let Some([patch_height, patch_width]) = vision.patch_size else {
        return Err(bad(path, "patch_size", "a vision transformer needs a patch size".to_owned()));
    };
    let grid = [height / patch_height, breadth / patch_width];
    let tokens = grid[0] * grid[1] + 1;
    if tokens == 1 || tokens > limits::TOKENS {
        let cause = format!(
            "{height}x{breadth} pixels in patches of {patch_height}x{patch_width} give {} tokens; expected 2 to {}",
            tokens,
            limits::TOKENS
        );
        return Err(bad(path, "patch_size", cause));
    }
    if vision.positional_embedding == PositionalEmbedding::SinCos2d
        && (grid[0] != grid[1] || !width.is_multiple_of(4))
    {
        let cause = "`sin_cos_2d` needs a square grid of patches and a width divisible by 4".to_owned();
        return Err(bad(path, "pos_embed_type", cause));
    }
    if vision.attentional_pool != super::AttentionalPool::None
        && !embed_dim.is_multiple_of(vision.pooler_heads)
    {
        let cause = format!("{} does not divide the embedding's width {embed_dim}", vision.pooler_heads);
        return Err(bad(path, "attn_pooler_heads", cause));
    }
    check_block(&vision.block, path)
}

fn check_text(text: &TextConfig, path: &str) -> Result<(), FormatError> {
    if !text.width.is_multiple_of(text.heads) {
        return Err(bad(path, "heads", format!("{} does not divide the width {}", text.heads, text.width)));
    }
    check_mlp(text.width, text.mlp_ratio, path)?;
    if text.modern.is_some_and(|modern| modern.rotary.is_some())
        && !(text.width / text.heads).is_multiple_of(2)
    {
        let cause = format!("heads of {} cannot be rotated in pairs", text.width / text.heads);
        return Err(bad(path, "heads", cause));
    }
    if let Some(outside) =
        text.rep_mixer.iter().flat_map(|mixer| &mixer.layers).find(|at| **at >= text.layers)
    {
        let cause = format!("block {outside} does not exist; there are {}", text.layers);
        return Err(bad(path, "rep_mixer_cfg.layers", cause));
    }
    match text.modern {
        // It has the norm of queries and keys alone.
        Some(_) => Ok(()),
        None => check_block(&text.block, path),
    }
}

fn check_block(block: &BlockConfig, path: &str) -> Result<(), FormatError> {
    // The default block supports neither.
    if block.kind != Some(BlockKind::Default) && block.qk_norm && block.scaled_cosine_attention {
        let cause = "`qk_norm` and `scaled_cosine_attn` are mutually exclusive".to_owned();
        return Err(bad(path, "qk_norm", cause));
    }
    Ok(())
}

fn check_mlp(width: usize, ratio: f64, path: &str) -> Result<(), FormatError> {
    if (width as f64 * ratio) < 1.0 {
        let cause = format!("a ratio of {ratio} reduces a width of {width} to 0");
        return Err(bad(path, "mlp_ratio", cause));
    }
    Ok(())
}
