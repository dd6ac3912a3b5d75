//! Verification of exported ONNX files: run from their bytes, by a runtime that is not the engine.

use std::path::Path;

use clipway_model::artifact::{Report, Tolerance};
use clipway_model::plan::Towers;
use clipway_model::source::Source;
use clipway_model::spelling::onnx::{ModelFile, OnnxPrecision, OnnxSettings, PixelInput, Profile};

use super::session::{OnnxError, OnnxSession, RUNTIME};
use super::tower::OnnxTower;
use crate::clip::{Clip, ClipError};
use crate::encoder::{Encoder, EncoderError, EncoderSettings, normalize};
use crate::load::{LoadError, LoadOptions, LoadedTokenizer};
use crate::tower::{Tower, TowerInput};
use crate::verify::{Inputs, Outputs, report};

/// What was exported, and how.
pub struct OnnxVerification<'a> {
    /// Whose folder it is.
    pub profile: &'static Profile,
    /// What the user said of the files.
    pub settings: OnnxSettings,
    /// Dtype of the files' weights.
    pub precision: OnnxPrecision,
    /// Images and texts.
    pub inputs: &'a Inputs,
    /// How the source is loaded.
    pub load: LoadOptions,
}

/// A verification could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxVerifyError {
    /// The source cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A side refuses the inputs.
    #[error(transparent)]
    Run(#[from] ClipError),
    /// A file cannot be loaded.
    #[error("`{file}`: {cause}")]
    File {
        /// Its path below the folder.
        file: String,
        /// Why.
        cause: OnnxError,
    },
    /// The towers do not belong together.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}

impl OnnxVerification<'_> {
    /// Runs the source by the engine and the folder's files by the other runtime, at batch 1, 2 and 7 in turn, and
    /// compares them.
    ///
    /// # Errors
    /// A side that cannot be loaded or run. Differences are no errors: they are in the report.
    pub fn run(&self, folder: &Path, source: &Source) -> Result<Report, OnnxVerifyError> {
        let name = source.path().file_name().unwrap_or(source.path().as_os_str()).to_string_lossy();
        let (mut expected, settings, preprocess) = {
            let clip = Clip::load(source, &self.load)?;
            let expected = Outputs::compute(&format!("`{name}`"), &clip, self.inputs, false)?;
            let settings = EncoderSettings {
                logit_scale: clip.logit_scale(),
                logit_bias: clip.logit_bias(),
                embed_dim: clip.embed_dim(),
            };
            (expected, settings, clip.preprocess().clone())
        };
        expected.inputs.push_str(&format!(", run by {RUNTIME} at batch 1, 2 and 7"));
        if self.precision == OnnxPrecision::F16 {
            expected.inputs.push_str(" with f16 weights in f32 arithmetic");
        }
        let mut towers = [None, None];
        for (index, tower) in [Towers::Image, Towers::Text].into_iter().enumerate() {
            if source.tower() == Towers::Both || source.tower() == tower {
                let file = self.profile.model_file(index, source.config(), self.precision, &self.settings);
                let features = match index {
                    0 => &mut expected.image_features,
                    _ => &mut expected.text_features,
                };
                if let (true, Some(rows)) = (file.options.normalize, features) {
                    normalize(&mut rows.values, rows.width);
                }
                towers[index] = Some(self.tower(folder, source, index, &file)?);
            }
        }
        let [image, text] = towers;
        let tokenizer = match source.tower() {
            Towers::Image => None,
            _ => LoadedTokenizer::find(source, source.folder())?.map(|loaded| loaded.tokenizer.tokenizer),
        };
        let clip = Clip::new(Encoder::new(image, text, settings)?, preprocess, tokenizer);
        let found = Outputs::compute("the folder", &clip, self.inputs, false)?;
        let tolerance = match self.precision {
            OnnxPrecision::F32 => Tolerance::f32(),
            OnnxPrecision::F16 => Tolerance::fp16(),
        };
        Ok(report(&expected, &found, &tolerance))
    }

    /// Loads the file of one tower.
    fn tower(
        &self,
        folder: &Path,
        source: &Source,
        index: usize,
        file: &ModelFile,
    ) -> Result<Box<dyn Tower>, OnnxVerifyError> {
        let refuse = |cause| OnnxVerifyError::File { file: file.path.clone(), cause };
        let path = folder.join(&file.path);
        let session = match self.precision {
            OnnxPrecision::F32 => OnnxSession::open(&path),
            OnnxPrecision::F16 => OnnxSession::open_widened(&path),
        };
        let model = source.model();
        let input = match index {
            0 => TowerInput::Pixels { height: model.image_size[0], width: model.image_size[1] },
            _ => TowerInput::Tokens {
                least: if file.options.free_length { 1 } else { model.context_length },
                context: model.context_length,
                vocabulary: model.vocab_size,
            },
        };
        let colors = match file.options.pixels {
            PixelInput::Bytes { mean, std } if index == 0 => Some((mean, std)),
            _ => None,
        };
        let tower = OnnxTower::new(session.map_err(refuse)?, input, model.embed_dim, colors);
        Ok(Box::new(tower.map_err(refuse)?))
    }
}
