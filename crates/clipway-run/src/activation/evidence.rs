//! Compares two activations on pairs of images and texts.
//!
//! The measure is the loss that CLIP models are trained with, at the model's own scale: for each pair, minus the
//! logarithm of the right partner's share among all partners, in both directions. The two activations are compared pair
//! by pair. Pairs share their wrong partners, so the standard error of the mean difference is approximate, and a
//! difference counts as clear from three standard errors on. Loss alone is misleading: features that distinguish
//! nothing have a smaller loss than wrong features, so for an untrained model one activation can be better by many
//! standard errors. Hence there is no result unless the better activation ranks right partners before wrong ones more
//! often than chance.

use serde::Serialize;

/// Number of standard errors from which a difference counts as clear, and as weak.
const CLEAR: f64 = 3.0;
const WEAK: f64 = 2.0;

/// Mean share of wrong partners ranked before the right one by chance.
const CHANCE: f64 = 0.5;

/// Normalized features of pairs, and the factor applied to their cosines.
#[derive(Clone, Debug)]
pub(super) struct Features {
    /// `[pairs, width]`.
    pub(super) image: Vec<f32>,
    /// `[pairs, width]`.
    pub(super) text: Vec<f32>,
    pub(super) width: usize,
    pub(super) scale: f64,
}

/// How well one activation matches each pair.
#[derive(Clone, Debug, Default)]
pub(super) struct Match {
    /// Minus the logarithm of the right partner's share, averaged over both directions.
    pub(super) losses: Vec<f64>,
    /// Share of wrong partners not ranked behind the right one, averaged over both directions.
    pub(super) ranks: Vec<f64>,
}

/// How well a model's two activations match images with their texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActivationEvidence {
    /// Number of pairs.
    pub pairs: usize,
    /// The config's activation.
    pub taken: &'static str,
    /// Its mean loss: minus the logarithm of the right partner's share, in both directions.
    pub taken_loss: f64,
    /// The mean share of wrong partners ranked before the right one: 0.5 is chance.
    pub taken_rank: f64,
    /// The other activation.
    pub other: &'static str,
    /// Its mean loss.
    pub other_loss: f64,
    /// Its mean share of wrong partners ranked before the right one.
    pub other_rank: f64,
    /// Standard error of the pairwise loss differences.
    pub standard_error: f64,
    /// The one with the smaller loss.
    pub better: &'static str,
    /// Whether that one ranks right partners before wrong ones, by 3 standard errors more than chance.
    pub matches: bool,
    /// How clear the difference is.
    pub clarity: Clarity,
}

/// How clearly one activation fits better than the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clarity {
    /// By 3 standard errors or more.
    Clear,
    /// By 2 to 3 standard errors.
    Weak,
    /// By less, or the model matches the pairs no better than chance: undecided.
    None,
}

impl ActivationEvidence {
    pub(super) fn new([taken, other]: [&'static str; 2], matches: [&Match; 2]) -> ActivationEvidence {
        let losses = matches.map(|one| mean(&one.losses));
        let differences: Vec<f64> =
            matches[1].losses.iter().zip(&matches[0].losses).map(|(other, taken)| other - taken).collect();
        let standard_error = standard_error(&differences);
        let is_taken = losses[1] >= losses[0];
        let matching = is_better_than_chance(&matches[usize::from(!is_taken)].ranks);
        let errors = errors(losses[1] - losses[0], standard_error);
        ActivationEvidence {
            pairs: differences.len(),
            taken,
            taken_loss: losses[0],
            taken_rank: mean(&matches[0].ranks),
            other,
            other_loss: losses[1],
            other_rank: mean(&matches[1].ranks),
            standard_error,
            better: if is_taken { taken } else { other },
            matches: matching,
            // A NaN is never clear.
            clarity: match () {
                () if matching && errors >= CLEAR => Clarity::Clear,
                () if matching && errors >= WEAK => Clarity::Weak,
                () => Clarity::None,
            },
        }
    }

    /// A one-line summary.
    pub fn summary(&self) -> String {
        let ActivationEvidence { pairs, taken, taken_loss, other, other_loss, better, .. } = self;
        let told = match self.clarity {
            Clarity::Clear => format!("{better} clearly fits better"),
            Clarity::Weak => format!("{better} fits slightly better"),
            Clarity::None if self.matches => {
                format!("{better} fits better, but the difference is too small to decide")
            }
            Clarity::None => format!(
                "neither {taken} nor {other} finds the right partners better than chance, so nothing is decided"
            ),
        };
        let errors = errors(other_loss - taken_loss, self.standard_error);
        format!(
            "on {pairs} built-in image-text pairs, {told} ({taken} has a loss of {taken_loss:.4}, {other} \
             {other_loss:.4}, {errors:.1} standard errors apart)"
        )
    }
}

impl Features {
    /// How well each pair is matched.
    pub(super) fn matched(&self) -> Match {
        let (images, texts): (Vec<&[f32]>, Vec<&[f32]>) =
            (self.image.chunks_exact(self.width).collect(), self.text.chunks_exact(self.width).collect());
        let logit = |image: &[f32], text: &[f32]| {
            self.scale * image.iter().zip(text).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        let mut found = Match::default();
        for index in 0..images.len().min(texts.len()) {
            let of_image: Vec<f64> = texts.iter().map(|text| logit(images[index], text)).collect();
            let of_text: Vec<f64> = images.iter().map(|image| logit(image, texts[index])).collect();
            let both = |measure: fn(&[f64], usize) -> f64| {
                (measure(&of_image, index) + measure(&of_text, index)) / 2.0
            };
            found.losses.push(both(loss));
            found.ranks.push(both(rank));
        }
        found
    }
}

/// Minus the logarithm of the right partner's share.
fn loss(logits: &[f64], right: usize) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    largest + sum.ln() - logits[right]
}

/// Share of wrong partners not ranked behind the right one. Ties and NaN are not behind it.
fn rank(logits: &[f64], right: usize) -> f64 {
    let behind = logits.iter().filter(|logit| logits[right] > **logit).count();
    1.0 - behind as f64 / (logits.len() - 1).max(1) as f64
}

fn is_better_than_chance(ranks: &[f64]) -> bool {
    let better = CHANCE - mean(ranks);
    better > 0.0 && errors(better, standard_error(ranks)) >= CLEAR
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard error of the mean.
fn standard_error(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|one| (one - mean).powi(2)).sum();
    let variance = squares / values.len().saturating_sub(1).max(1) as f64;
    (variance / values.len().max(1) as f64).sqrt()
}

/// A difference in standard errors; 0 if there is none.
fn errors(difference: f64, standard_error: f64) -> f64 {
    if difference == 0.0 { 0.0 } else { difference.abs() / standard_error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_cross_entropies_and_ranks_shares() {
        // Two pairs, scale 2: logits [[2, 0], [0, 2]], so each loss is ln(1 + e^-2).
        let right = vec![1.0, 0.0, 0.0, 1.0];
        let of = |text: Vec<f32>| Features { image: right.clone(), text, width: 2, scale: 2.0 }.matched();
        let expected = (1.0 + (-2.0f64).exp()).ln();
        let found = of(right.clone());
        assert!(found.losses.iter().all(|loss| (loss - expected).abs() < 1e-12), "{found:?}");
        assert_eq!(found.ranks, [0.0, 0.0]);
        assert_eq!(of(vec![0.0, 1.0, 1.0, 0.0]).ranks, [1.0, 1.0]);
        // Constant or NaN features find no partners.
        assert_eq!(of(vec![1.0, 0.0, 1.0, 0.0]).ranks, [0.5, 1.0]);
        assert_eq!(of(vec![f32::NAN; 4]).ranks, [1.0, 1.0]);
    }

    #[test]
    fn clarity_is_counted_in_standard_errors() {
        let check = |differences: &[f64], rank: f64, better: &str, clarity: Clarity| {
            let ranks = vec![rank; differences.len()];
            let ones = Match { losses: vec![1.0; differences.len()], ranks: ranks.clone() };
            let others = differences.iter().map(|difference| 1.0 + difference).collect();
            let others = Match { losses: others, ranks };
            let evidence = ActivationEvidence::new(["GELU", "QuickGELU"], [&ones, &others]);
            assert_eq!((evidence.better, evidence.clarity), (better, clarity), "{evidence:?}");
            evidence.summary()
        };
        // Standard deviation 1, 4 values: the standard error is 0.5 · sqrt(4 / 3).
        check(&[3.0, 1.0, 3.0, 1.0], 0.1, "GELU", Clarity::Clear);
        check(&[-3.0, -1.0, -3.0, -1.0], 0.1, "QuickGELU", Clarity::Clear);
        check(&[2.4, 0.4, 2.4, 0.4], 0.1, "GELU", Clarity::Weak);
        check(&[1.4, -0.6, 1.4, -0.6], 0.1, "GELU", Clarity::None);
        check(&[f64::NAN, 1.0, 1.0, 1.0], 0.1, "QuickGELU", Clarity::None);
        check(&[0.0; 4], 0.1, "GELU", Clarity::None);
        // However large the difference: a model that finds no partners decides nothing.
        let told = check(&[-3.0, -1.0, -3.0, -1.0], 0.5, "QuickGELU", Clarity::None);
        assert!(
            told.contains("neither GELU nor QuickGELU finds the right partners better than chance"),
            "{told}"
        );
        check(&[3.0, 1.0, 3.0, 1.0], 0.9, "GELU", Clarity::None);
    }
}
