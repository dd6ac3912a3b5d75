//! Model files of ONNX: graphs of the towers, written tensor by tensor and read back.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use clipway_formats::{Code, FormatError, OnnxFile, Place, ReadAt, TensorFile};
use sha2::{Digest, Sha256};

use super::jobs::Run;
use super::weights::WrittenFiles;
use super::{ExportError, TokenizerParts};
use crate::artifact::hex;
use crate::graph::Graph;
use crate::input::{self, InputError, Kind};
use crate::output::Staging;
use crate::plan::{ApplyError, PlannedTensor, Precision, Towers, apply};
use crate::source::Source;
use crate::spelling::WeightsFormat;
use crate::spelling::onnx::{
    Facts, MakeError, ModelFile, OnnxPrecision, OnnxSettings, OnnxTower, ParameterValues, Profile, lower,
};
use crate::state_dict::{StateDict, cast_to_f32};

/// The files of a folder of ONNX models.
pub(super) struct OnnxJob<'a> {
    pub(super) source: &'a Source,
    pub(super) profile: &'static Profile,
    pub(super) settings: OnnxSettings,
    pub(super) run: Run<'a>,
}

/// The values of a plan's tensors, by open_clip's names.
pub(super) struct PlannedValues<'a> {
    planned: HashMap<&'a str, &'a PlannedTensor>,
    source: &'a StateDict,
}

impl<'a> PlannedValues<'a> {
    pub(super) fn new(source: &'a Source) -> PlannedValues<'a> {
        let tensors = source.plan().tensors.iter();
        let planned = tensors.map(|planned| (planned.target.name.as_str(), planned)).collect();
        PlannedValues { planned, source: &source.weights().state_dict }
    }
}

impl ParameterValues for PlannedValues<'_> {
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let planned = self.planned.get(name).ok_or("it is not in the source")?;
        let target = &planned.target;
        if target.shape != shape || !target.dtype.is_float() {
            return Err(format!("expected numbers {shape:?}, found {} {:?}", target.dtype, target.shape));
        }
        let mut out = Vec::with_capacity(target.elements());
        let applied = apply(planned, self.source, &mut |piece| {
            let start = out.len();
            out.resize(start + piece.len() / target.dtype.size(), 0.0);
            cast_to_f32(target.dtype, piece, &mut out[start..]);
            Ok::<(), std::convert::Infallible>(())
        });
        match applied {
            Ok(applied) if applied.overflowed > 0 => {
                Err(format!("{} values are beyond what {} holds", applied.overflowed, target.dtype))
            }
            Ok(_) => Ok(out),
            Err(ApplyError::Read(cause)) => Err(cause.to_string()),
            Err(ApplyError::Sink(never)) => match never {},
        }
    }
}

impl OnnxJob<'_> {
    /// The precision of the files: f32 where none was asked for.
    pub(super) fn precision(&self) -> OnnxPrecision {
        match self.source.precision() {
            Some(Precision::F16) => OnnxPrecision::F16,
            _ => OnnxPrecision::F32,
        }
    }

    /// Writes the towers' files, and reads them back.
    pub(super) fn write(&self, staging: &Staging) -> Result<WrittenFiles, ExportError> {
        let format = WeightsFormat::Onnx;
        let mut written = WrittenFiles { format, names: Vec::new(), index: None, tensors: Vec::new() };
        let model = self.source.model();
        for (index, tower, graph) in [(0, Towers::Image, &model.image), (1, Towers::Text, &model.text)] {
            if self.source.tower() == Towers::Both || self.source.tower() == tower {
                written.names.extend(self.write_tower(staging, index, graph)?);
            }
        }
        Ok(written)
    }

    /// Writes one tower, and gives the names of its files.
    fn write_tower(
        &self,
        staging: &Staging,
        index: usize,
        graph: &Graph,
    ) -> Result<Vec<String>, ExportError> {
        let (source, model) = (self.source, self.source.model());
        let place = self.profile.model_file(index, source.config(), self.precision(), &self.settings);
        let mut tower = lower(model, graph, &place.options, None);
        tower.graph.metadata = self.metadata(&graph.name, &place);
        let path = source.checkpoint().weights_path();
        let refuse = |cause| ExportError::Read { path: path.to_owned(), cause };
        let layout = tower.layout(self.profile.external(&place)).map_err(refuse)?;

        let file = staging.file(&place.path)?;
        let folder = place.path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let beside = layout.external().map(|(name, size)| (format!("{folder}{name}"), size));
        let external = beside.as_ref().map(|(name, _)| staging.file(name)).transpose()?;
        file.set_length(layout.model_size())?;
        if let (Some(external), Some((_, size))) = (&external, &beside) {
            external.set_length(*size)?;
        }
        for (offset, bytes) in layout.pieces() {
            file.write_all_at(*offset, bytes)?;
        }
        let values = PlannedValues::new(source);
        let mut hashes = Vec::new();
        for index in 0..tower.graph.initializers.len() {
            let bytes = tower.make(index, &model.parameters, &values);
            let bytes = bytes.map_err(|cause| ExportError::Onnx { path: path.to_owned(), cause })?;
            self.run.advance(bytes.len())?;
            let place = layout.place(index);
            let out = external.as_ref().filter(|_| place.external).unwrap_or(&file);
            out.write_all_at(place.offset, &bytes)?;
            hashes.push(hex(Sha256::new_with_prefix(&bytes)));
        }
        read_back(staging, &place.path, &tower, &hashes)?;
        Ok(std::iter::once(place.path).chain(beside.map(|(name, _)| name)).collect())
    }

    /// What a file says of itself, by key.
    fn metadata(&self, tower: &str, place: &ModelFile) -> Vec<(String, String)> {
        let (config, model) = (self.source.config(), self.source.model());
        let precision = self.source.precision().unwrap_or(Precision::F32).name();
        let mut pairs = vec![
            ("config", config.model.to_config_file(&config.preprocess())),
            ("context_length", model.context_length.to_string()),
            ("embed_dim", model.embed_dim.to_string()),
            ("normalized", place.options.normalize.to_string()),
            ("precision", precision.to_owned()),
            ("tower", tower.to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        if let Some(name) = self.source.origin().name() {
            pairs.insert(4, ("model", name.to_owned()));
        }
        pairs.into_iter().map(|(key, value)| (format!("clipway.{key}"), value)).collect()
    }

    /// The small files of the folder.
    pub(super) fn files(
        &self,
        tokenizer: &TokenizerParts,
        written: &[WrittenFiles],
    ) -> Result<Vec<(String, Vec<u8>)>, ExportError> {
        let (model, values) = (self.source.model(), PlannedValues::new(self.source));
        let path = self.source.checkpoint().weights_path();
        let scalar = |id| {
            let parameter = model.parameters.get(id);
            let value = values.read(&parameter.name, &parameter.shape).map(|values| values[0]);
            let weight = |cause| MakeError::Weight { name: parameter.name.clone(), cause };
            value.map_err(|cause| ExportError::Onnx { path: path.to_owned(), cause: weight(cause) })
        };
        let names = written.iter().flat_map(|files| &files.names);
        let file_name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
        let external = names
            .filter(|name| !name.ends_with(".onnx"))
            .map(|name| file_name(name).trim_end_matches("_data").to_owned());
        let facts = Facts {
            config: self.source.config(),
            rules: tokenizer.rules.as_ref(),
            logit_scale: f64::from(scalar(model.logit_scale)?).exp() as f32,
            logit_bias: model.logit_bias.map(scalar).transpose()?,
            external: external.collect(),
        };
        let files = self.profile.files(&facts).into_iter();
        let tokenizer = tokenizer
            .files
            .iter()
            .map(|(name, bytes)| (format!("{}{name}", self.profile.tokenizer_folder), bytes.clone()));
        Ok(files.map(|(name, text)| (name.to_owned(), text.into_bytes())).chain(tokenizer).collect())
    }
}

/// Reads a model file back and compares every name, dtype, shape and hash.
fn read_back(staging: &Staging, name: &str, tower: &OnnxTower, hashes: &[String]) -> Result<(), ExportError> {
    let path = staging.target().join(name);
    let refuse = |cause: String| ExportError::ReadBack { path: path.clone(), cause };
    let file = open(&staging.folder().join(name)).map_err(&refuse)?;
    if file.tensors() != tower.graph.initializers || file.metadata() != tower.graph.metadata {
        return Err(refuse("the tensors are not those that were written".to_owned()));
    }
    for (index, expected) in hashes.iter().enumerate() {
        let mut hash = Sha256::new();
        let read = file.read_chunks(index, &mut |bytes| hash.update(bytes));
        read.map_err(|cause| refuse(cause.to_string()))?;
        if hex(hash) != *expected {
            let tensor = &file.tensors()[index].name;
            return Err(refuse(format!("tensor `{tensor}` differs from what was written")));
        }
    }
    Ok(())
}

/// Opens a model file with the external data beside it.
fn open(path: &Path) -> Result<OnnxFile, String> {
    let source = |path: &Path| -> Result<Arc<dyn ReadAt>, FormatError> {
        let opened = input::open(path, Kind::Written);
        let refuse = |error: InputError| FormatError::new(Code::Io, Place::File, error.to_string());
        Ok(Arc::new(opened.map_err(refuse)?))
    };
    let main = source(path).map_err(|error| error.to_string())?;
    OnnxFile::open(main, &mut |name| source(&path.with_file_name(name))).map_err(|error| error.to_string())
}
