//! open_clip's own folder, which `local-dir:` loads.

use super::{SpellError, Spelled, Spelling, StoredWeights, WeightsFormat};
use crate::checkpoint::CONFIG_NAME;
use crate::plan::Towers;

const TITLE: &str = "open_clip";

/// Names and files.
pub(super) static SPELLING: Spelling = Spelling {
    layout: "open_clip",
    title: TITLE,
    weights: StoredWeights::StateDict(&[
        (WeightsFormat::Safetensors, ["open_clip_model", "safetensors"]),
        (WeightsFormat::Pytorch, ["open_clip_pytorch_model", "bin"]),
    ]),
    spell: |subject| {
        let preprocess = subject.config.preprocess();
        // A source whose preprocessing no open_clip config can express can run, but is not written as if it could.
        let differences = preprocess.open_clip_differences();
        if subject.towers != Towers::Text && !differences.is_empty() {
            let problems = differences.iter().map(ToString::to_string).collect();
            return Err(SpellError::Inexpressible { title: TITLE, problems });
        }
        let text = subject.config.model.to_config_file(&preprocess);
        let files = vec![(CONFIG_NAME, text.into_bytes())];
        Ok(Spelled { tensors: subject.tensors.to_vec(), files, ..Spelled::default() })
    },
    is_open_clip: true,
    library: "open_clip",
    usage: "import open_clip, torch\n\
            from PIL import Image\n\n\
            model, preprocess = open_clip.create_model_from_pretrained('local-dir:PATH/TO/THIS/FOLDER')\n\
            tokenizer = open_clip.get_tokenizer('local-dir:PATH/TO/THIS/FOLDER')\n\
            model.eval()\n\
            image = preprocess(Image.open('image.jpg')).unsqueeze(0)\n\
            with torch.no_grad():\n    \
                images = model.encode_image(image, normalize=True)\n    \
                texts = model.encode_text(tokenizer(['a cat', 'a dog']), normalize=True)\n\
            print(images @ texts.T)\n",
};
