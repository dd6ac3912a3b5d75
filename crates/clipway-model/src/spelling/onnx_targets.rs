//! Folders of ONNX models.

use super::onnx::{IMMICH, OWN, OnnxPrecision, Profile, TRANSFORMERS, is_siglip};
use super::transformers_preprocess::{CLIP_CLASS, processor, siglip_class};
use super::{SpellError, Spelled, Spelling, StoredWeights, Subject};
use crate::problems::Problems;

const TITLE: &str = "ONNX";

/// clipway's own folder, which open_clip_inference loads too.
pub(super) static OWN_SPELLING: Spelling = spelling(&OWN, "open_clip_inference");

/// immich's folder of a model.
pub(super) static IMMICH_SPELLING: Spelling = spelling(&IMMICH, "immich");

/// The folder of transformers.js, optimum and fastembed.
pub(super) static TRANSFORMERS_SPELLING: Spelling =
    Spelling { spell: spell_transformers, ..spelling(&TRANSFORMERS, "transformers.js") };

const fn spelling(profile: &'static Profile, library: &'static str) -> Spelling {
    Spelling {
        layout: profile.name,
        title: TITLE,
        weights: StoredWeights::Graphs(profile),
        spell: spelled,
        is_open_clip: false,
        library,
        usage: "",
    }
}

/// The tensors as they are: what is made of them is written into the graphs.
fn spelled(subject: &Subject<'_>) -> Result<Spelled, SpellError> {
    if let Some(precision) = subject.precision {
        OnnxPrecision::try_from(precision).map_err(|cause| {
            let problems = vec![cause.to_string()];
            SpellError::Inexpressible { title: TITLE, problems }
        })?;
    }
    Ok(Spelled { tensors: subject.tensors.to_vec(), ..Spelled::default() })
}

fn spell_transformers(subject: &Subject<'_>) -> Result<Spelled, SpellError> {
    let mut problems = Problems::default();
    let processor = processor(&subject.config.preprocess(), &mut problems);
    problems.none_for(TITLE)?;
    let class = if is_siglip(subject.config) { siglip_class(&processor) } else { CLIP_CLASS };
    Ok(spelled(subject)?.with_processor(processor, class))
}
