//! A source as a target would write it: the plan under the target's names, and the ledger.

use std::collections::BTreeMap;

use super::ExportError;
use crate::artifact::Quantization;
use crate::config::PixelRule;
use crate::plan::{Integers, Ledger, Plan, Precision, Step, Towers};
use crate::source::Source;
use crate::spelling::onnx::{Int8, OnnxPrecision, OnnxSettings};
use crate::spelling::{SpellError, Spelled, Spelling, Subject};

/// An export ready to be written, for inspection. No weights have been read yet.
#[derive(Debug)]
pub struct Export<'a> {
    pub(super) source: &'a Source,
    pub(super) plan: Plan,
    pub(super) spelling: &'static Spelling,
    pub(super) files: Vec<(&'static str, Vec<u8>)>,
    pub(super) rule: PixelRule,
    pub(super) ledger: Ledger,
    pub(super) notes: Vec<String>,
    pub(super) onnx: OnnxSettings,
    pub(super) quantization: Option<Quantization>,
}

impl<'a> Export<'a> {
    /// Maps a source to a target's names and files, and accounts for every tensor.
    ///
    /// # Errors
    /// A model that the target cannot represent, or a ledger that does not balance.
    pub fn prepare(source: &'a Source, spelling: &'static Spelling) -> Result<Export<'a>, ExportError> {
        let (plan, spelled) = spell(source, spelling).map_err(|cause| {
            let path = source.path().to_owned();
            ExportError::Target { path, model: source.origin().shown(), cause }
        })?;
        let is_copied = spelling.holds_integers() && source.precision().is_none();
        let plan = if is_copied { plan.with_integers_as_stored() } else { plan };
        let is_whole = source.parts().is_empty();
        let quantization =
            source.artifact().filter(|_| is_copied && is_whole).and_then(|own| own.quantization.clone());
        let ledger = Ledger::balance(source.checkpoint().tensors().tensors(), source.weights(), &plan)?;
        let mut notes = source.notes().to_vec();
        notes.extend(spelled.notes);
        notes.extend(about_target(source, spelling));
        for integers in [Integers::Int8, Integers::Int4] {
            let widens = Step::Dequantize { from: integers };
            let widened = plan.tensors.iter().filter(|planned| planned.steps.contains(&widens)).count();
            if widened > 0 {
                notes.push(format!(
                    "{widened} tensors are stored in {integers} in the source: they are widened, and what rounding took \
                     is not restored"
                ));
            }
        }
        Ok(Export {
            source,
            plan,
            spelling,
            files: spelled.files,
            rule: spelled.rule,
            ledger,
            notes,
            onnx: OnnxSettings::default(),
            quantization,
        })
    }

    /// The same with some tensors in integers, and what is known of the cost.
    ///
    /// # Errors
    /// A tensor that cannot be in these integers.
    pub fn quantized(
        self,
        chosen: &BTreeMap<String, Integers>,
        quantization: Quantization,
    ) -> Result<Export<'a>, ExportError> {
        let plan = self.plan.quantized(chosen).map_err(|cause| ExportError::Target {
            path: self.source.path().to_owned(),
            model: self.source.origin().shown(),
            cause: cause.into(),
        })?;
        let tensors = self.source.checkpoint().tensors().tensors();
        let ledger = Ledger::balance(tensors, self.source.weights(), &plan)?;
        Ok(Export { plan, ledger, ..self.with_quantization(quantization) })
    }

    /// The same with what the user says of ONNX files.
    #[must_use]
    pub fn with_onnx(self, onnx: OnnxSettings) -> Export<'a> {
        Export { onnx, ..self }
    }

    /// The same with graphs in int8, and what is known of the cost.
    #[must_use]
    pub fn with_int8_graphs(mut self, int8: Int8, quantization: Quantization) -> Export<'a> {
        self.onnx.int8 = Some(int8);
        self.with_quantization(quantization)
    }

    fn with_quantization(mut self, quantization: Quantization) -> Export<'a> {
        if quantization.inputs.is_none() {
            self.notes.push(format!("what rounding to {} costs was not measured", quantization.integers));
        }
        Export { quantization: Some(quantization), ..self }
    }

    /// What the user says of ONNX files.
    pub fn onnx(&self) -> &OnnxSettings {
        &self.onnx
    }

    /// The precision of ONNX files: f32 where none was asked for.
    pub fn onnx_precision(&self) -> OnnxPrecision {
        match self.source.precision() {
            Some(Precision::F16) => OnnxPrecision::F16,
            _ => OnnxPrecision::F32,
        }
    }

    /// The source being exported.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// How the written tensors are made, under the target's names.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The spelling: names and files of the target.
    pub fn spelling(&self) -> &'static Spelling {
        self.spelling
    }

    /// Where every tensor of the source goes.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What a user should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The plan under the target's names, with the files beside the weights.
fn spell(source: &Source, spelling: &Spelling) -> Result<(Plan, Spelled), SpellError> {
    let subject = Subject {
        config: source.config(),
        tensors: &source.plan().tensors,
        towers: source.tower(),
        precision: source.precision(),
    };
    spelling.spell(&subject, source.plan())
}

/// The note on a folded model.
const FOLDED: &str = "the image tower's branches are folded for inference: open_clip 3.3.0 cannot load this \
     folder as it is, since it builds the trunk with its training branches and has no option for the \
     folded form";

/// How open_clip can still load it, if nothing else stands in the way.
const FOLDED_USAGE: &str =
    "; after `timm.utils.reparameterize_model` its model accepts these weights (see README.md)";

/// The note on a trimmed vocabulary.
const LOCAL_TOKENIZER: &str = "open_clip 3.3.0 reads the trimmed tokenizer of a folder (`local-dir:`); of a repository on the \
     Hub it takes the tokenizer that `hf_tokenizer_name` names, so set that to the repository's own name there";

/// The note on a text model of transformers that has no name on the Hub.
const LOCAL_TEXT_MODEL: &str = "open_clip 3.3.0 loads this folder only with the folder as working folder (`cd`, then \
     `local-dir:.`): it looks for the text model `text_model` there, and no model on the Hub has its vocabulary";

/// Why open_clip 3.3.0 cannot load any folder of a model: it is a tower alone, it is folded, its config has keys of its own.
fn obstacles(source: &Source) -> [Option<String>; 4] {
    let model = &source.config().model;
    let (beyond, towers) = (model.beyond_open_clip(), source.tower());
    let alone = (towers != Towers::Both)
        .then(|| format!("this folder has only the {} tower, so open_clip cannot load it", towers.name()));
    let newer = model.newer_text_model().filter(|_| towers != Towers::Image);
    let takes = beyond.is_empty() && newer.is_none() && towers == Towers::Both;
    let folded = model.folded.then(|| format!("{FOLDED}{}", if takes { FOLDED_USAGE } else { "" }));
    let unknown = (!beyond.is_empty()).then(|| {
        let keys = beyond.join("`, `");
        format!("open_clip 3.3.0 cannot load this folder: its configs have no key `{keys}`")
    });
    let newer = newer.map(|kind| {
        format!(
            "open_clip 3.3.0 cannot load this folder: it has no text towers of the kind `{kind}`, which its main branch has"
        )
    });
    [alone, folded, unknown, newer]
}

/// Why open_clip 3.3.0 cannot load the folders that are written for it; empty if it can.
pub fn open_clip_obstacles(source: &Source) -> Vec<String> {
    obstacles(source).into_iter().flatten().collect()
}

/// The same for open_clip's main branch, which has further towers and keys.
pub fn open_clip_main_obstacles(source: &Source) -> Vec<String> {
    let [alone, folded, ..] = obstacles(source);
    let unknown = source.config().model.text.rep_mixer.as_ref().map(|_| {
        "open_clip cannot load this folder: its configs have no key `text_cfg.rep_mixer_cfg`".to_owned()
    });
    [alone, folded, unknown].into_iter().flatten().collect()
}

/// Notes on the folder to be written.
fn about_target(source: &Source, spelling: &Spelling) -> Vec<String> {
    if spelling.has_graphs() {
        return Vec::new();
    }
    let [alone, folded, unknown, newer] = obstacles(source);
    let mut notes: Vec<String> = alone.into_iter().chain(folded).collect();
    if let Some([height, width]) = source.model().changed_from {
        notes.push(format!(
            "the image tower's tensors were made for {height}x{width} images and are not resampled: open_clip 3.3.0 \
             loads the folder with `force_image_size`"
        ));
    }
    notes.extend(unknown.into_iter().chain(newer).filter(|_| spelling.is_open_clip));
    let is_trimmed = source.contract().text.as_ref().is_some_and(|text| text.vocabulary.is_some());
    if spelling.is_open_clip && is_trimmed {
        notes.push(LOCAL_TOKENIZER.to_owned());
    }
    if spelling.is_open_clip && source.has_local_text_model() {
        notes.push(LOCAL_TEXT_MODEL.to_owned());
    }
    notes
}
