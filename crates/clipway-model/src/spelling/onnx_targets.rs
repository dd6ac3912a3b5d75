//! Folders of ONNX models.

use super::onnx::{IMMICH, OWN, OnnxPrecision, Profile, TRANSFORMERS, is_siglip};
use super::transformers_preprocess::{CLIP_CLASS, processor, siglip_class};
use super::{SpellError, Spelled, Spelling, StoredWeights, Subject};
use crate::problems::Problems;

const TITLE: &str = "ONNX";

/// clipway's own folder, which open_clip_inference loads too.
pub(super) static OWN_SPELLING: Spelling = spelling(&OWN, "open_clip_inference", USAGE);

/// immich's folder of a model.
pub(super) static IMMICH_SPELLING: Spelling = spelling(&IMMICH, "immich", USAGE_IMMICH);

/// The folder of transformers.js, optimum and fastembed.
pub(super) static TRANSFORMERS_SPELLING: Spelling =
    Spelling { spell: spell_transformers, ..spelling(&TRANSFORMERS, "transformers.js", USAGE_TRANSFORMERS) };

const USAGE: &str = "import onnxruntime\n\n\
     visual = onnxruntime.InferenceSession('PATH/TO/THIS/FOLDER/visual.onnx')\n\
     features, = visual.run(['image_embeddings'], {'pixel_values': pixels})  # [batch, 3, height, width], normalized\n";

const USAGE_IMMICH: &str = "import onnxruntime\n\n\
     visual = onnxruntime.InferenceSession('PATH/TO/THIS/FOLDER/visual/model.onnx')\n\
     features = visual.run(None, {'image': pixels})[0][0]  # [1, 3, height, width], normalized\n";

const USAGE_TRANSFORMERS: &str = "import onnxruntime\n\n\
     vision = onnxruntime.InferenceSession('PATH/TO/THIS/FOLDER/onnx/vision_model.onnx')\n\
     features = vision.run(None, {'pixel_values': pixels})[0]  # [batch, 3, height, width], normalized\n";

const fn spelling(profile: &'static Profile, library: &'static str, usage: &'static str) -> Spelling {
    Spelling {
        layout: profile.name,
        title: TITLE,
        weights: StoredWeights::Graphs(profile),
        spell: spelled,
        is_open_clip: false,
        library,
        usage,
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
