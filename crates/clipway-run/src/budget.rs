//! Limits on what a model may ask for.

use clipway_formats::{Code, Place, check_room};
use clipway_model::architecture::Model;
use clipway_model::graph::Cost;
use clipway_model::plan::Towers;

/// Limits for one image or text, without the weights. Checked before a weight is read: a small file may describe a
/// tower that no machine can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of pixels, tokens and activations.
    pub bytes: u64,
    /// Multiplications.
    pub multiplications: u64,
}

impl Default for Budget {
    /// 2 GiB and 20 trillion multiplications: ten times what the largest registered model needs.
    fn default() -> Budget {
        Budget { bytes: 2 << 30, multiplications: 20_000_000_000_000 }
    }
}

/// A model needs more than its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// Too many bytes.
    #[error("one {sample} needs {needed} bytes for its {input} and activations; the limit is {most}")]
    Memory {
        /// `image` or `text`.
        sample: &'static str,
        /// `pixels` or `tokens`.
        input: &'static str,
        /// Bytes needed.
        needed: u64,
        /// The limit in bytes.
        most: u64,
    },
    /// The system gives fewer bytes than the budget allows.
    #[error(
        "one {sample} needs {needed} bytes for its {input} and activations; the system has no memory for them"
    )]
    NoMemory {
        /// `image` or `text`.
        sample: &'static str,
        /// `pixels` or `tokens`.
        input: &'static str,
        /// Bytes that it needs.
        needed: u64,
    },
    /// Too much work.
    #[error("one {sample} needs {needed} multiplications; the limit is {most}")]
    Work {
        /// `image` or `text`.
        sample: &'static str,
        /// Multiplications needed.
        needed: u64,
        /// The limit in multiplications.
        most: u64,
    },
}

impl BudgetError {
    /// Stable code of the error.
    pub fn code(&self) -> &'static str {
        match self {
            BudgetError::Memory { .. } | BudgetError::Work { .. } => Code::TooLarge.name(),
            BudgetError::NoMemory { .. } => Code::NoMemory.name(),
        }
    }
}

impl Budget {
    /// Checks the towers of a model before they are loaded.
    ///
    /// # Errors
    /// The first tower over the limit.
    pub fn check(&self, model: &Model, towers: Towers) -> Result<(), BudgetError> {
        let length = model.context_length;
        if towers != Towers::Text {
            self.check_cost("image", "pixels", model.image.cost(&model.parameters, length))?;
        }
        if towers != Towers::Image {
            self.check_cost("text", "tokens", model.text.cost(&model.parameters, length))?;
        }
        Ok(())
    }

    fn check_cost(&self, sample: &'static str, input: &'static str, cost: Cost) -> Result<(), BudgetError> {
        if cost.bytes > self.bytes {
            return Err(BudgetError::Memory { sample, input, needed: cost.bytes, most: self.bytes });
        }
        if cost.multiplications > self.multiplications {
            let (needed, most) = (cost.multiplications, self.multiplications);
            return Err(BudgetError::Work { sample, needed, most });
        }
        // The engine takes its memory without asking.
        let bytes = usize::try_from(cost.bytes).unwrap_or(usize::MAX);
        check_room(bytes, || Place::File).map_err(|_| BudgetError::NoMemory {
            sample,
            input,
            needed: cost.bytes,
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clipway_model::architecture::build;
    use clipway_model::config::ConfigFile;
    use clipway_model::registry;

    use super::*;

    #[test]
    fn every_registered_model_is_far_below_the_budget() {
        let budget = Budget::default();
        let fifth = Budget { bytes: budget.bytes / 2, multiplications: budget.multiplications / 5 };
        for name in registry::names() {
            let model = build(&registry::model(name).unwrap()).unwrap();
            fifth.check(&model, Towers::Both).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// Cost of a small ViT's image tower with 8-pixel patches.
    fn image_cost(side: usize, layers: usize) -> Cost {
        let config = format!(
            r#"{{"embed_dim": 8, "vision_cfg": {{"image_size": {side}, "layers": {layers}, "width": 8, "head_width": 8,
            "patch_size": 8}}, "text_cfg": {{"context_length": 8, "vocab_size": 99, "width": 16, "heads": 1, "layers": 1}}}}"#
        );
        let model = build(&ConfigFile::parse(config.as_bytes()).unwrap().model).unwrap();
        model.image.cost(&model.parameters, 8)
    }

    #[test]
    fn cost_grows_with_what_the_config_asks_for() {
        let (small, large) = (image_cost(64, 1), image_cost(2000, 1));
        // In a shallow tower, three copies of the pixels need the most memory.
        assert!(
            large.bytes >= 3 * 3 * 2000 * 2000 * 4 && large.bytes < 2 * 3 * 3 * 2000 * 2000 * 4,
            "{large:?}"
        );
        // Attention from 62,501 tokens to as many, eight wide, for scores and values.
        assert!(large.multiplications > 2 * 8 * 62_501 * 62_501, "{large:?}");
        assert!(small.multiplications < 10_000_000 && small.bytes < 1 << 20, "{small:?}");
        assert!(image_cost(2000, 300).multiplications > 299 * 2 * 8 * 62_501 * 62_501);
        let model_of = |cost: Cost| Budget::default().check_cost("image", "pixels", cost);
        assert!(model_of(large).is_ok());
        // 300 layers need 18.8 trillion multiplications, 400 need 25.
        assert_eq!(model_of(image_cost(2000, 300)), Ok(()));
        assert!(matches!(model_of(image_cost(2000, 400)), Err(BudgetError::Work { .. })));
        let bytes = 3 << 30;
        assert!(matches!(model_of(Cost { bytes, multiplications: 1 }), Err(BudgetError::Memory { .. })));
    }
}
