//! Model files of ONNX: graphs of the towers, written tensor by tensor and read back.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use clipway_formats::{
    Code, FormatError, OnnxExternal, OnnxFile, OnnxLayout, Place, ReadAt, TensorFile, TensorInfo,
};
use sha2::{Digest, Sha256};

use super::jobs::{Run, largest_first, run_jobs};
use super::weights::hash_tensors;
use super::write::file_name;
use super::writer::{Writer, WrittenFiles, WrittenGraph};
use super::{ExportError, TokenizerParts};
use crate::artifact::{FileHash, hex};
use crate::input::{self, FileSource, InputError, Kind};
use crate::license::Licenses;
use crate::output::Staging;
use crate::plan::{PlannedTensor, Precision, apply_all};
use crate::source::Source;
use crate::spelling::WeightsFormat;
use crate::spelling::onnx::{
    Facts, FileContent, ModelFile, OnnxPrecision, OnnxSettings, OnnxTower, ParameterValues, Profile, lower,
    lower_pair,
};
use crate::state_dict::{StateDict, cast_to_f32};

/// The files of a folder of ONNX models.
pub(super) struct OnnxJob<'a> {
    pub(super) source: &'a Source,
    pub(super) profile: &'static Profile,
    pub(super) precision: OnnxPrecision,
    pub(super) settings: &'a OnnxSettings,
    /// What is known of the license.
    pub(super) licenses: &'a Licenses,
    pub(super) run: Run<'a>,
}

/// Numbers that are handed over at once.
const PIECE: usize = 1 << 16;

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
        let mut out = Vec::with_capacity(shape.iter().product());
        self.stream(name, shape, &mut |piece| out.extend_from_slice(piece))?;
        Ok(out)
    }

    fn stream(&self, name: &str, shape: &[usize], sink: &mut dyn FnMut(&[f32])) -> Result<(), String> {
        let planned = self.planned.get(name).ok_or("it is not in the source")?;
        let target = &planned.target;
        if target.shape != shape || !target.dtype.is_float() {
            return Err(format!("expected numbers {shape:?}, found {} {:?}", target.dtype, target.shape));
        }
        let mut numbers = Vec::new();
        let applied = apply_all(planned, self.source, &mut |piece| {
            for piece in piece.chunks(PIECE * target.dtype.size()) {
                numbers.resize(piece.len() / target.dtype.size(), 0.0);
                cast_to_f32(target.dtype, piece, &mut numbers);
                sink(&numbers);
            }
        });
        match applied.map_err(|cause| cause.to_string())?.overflowed {
            0 => Ok(()),
            overflowed => Err(format!("{overflowed} values are beyond what {} holds", target.dtype)),
        }
    }
}

impl OnnxJob<'_> {
    /// The graph of a file, without what it says of itself.
    fn lowered(&self, file: &ModelFile) -> OnnxTower {
        let model = self.source.model();
        match &file.content {
            FileContent::Image => lower(model, &model.image, &file.options, None),
            FileContent::Text => lower(model, &model.text, &file.options, None),
            FileContent::Classifier(classifier) => {
                lower(model, &model.image, &file.options, Some(classifier))
            }
            FileContent::Both(text) => lower_pair(model, [&file.options, text]),
        }
    }

    /// Writes one graph; gives the names of its files, and what was written.
    fn write_graph(
        &self,
        staging: &Staging,
        file: &ModelFile,
    ) -> Result<(Vec<String>, WrittenGraph), ExportError> {
        let (source, model) = (self.source, self.source.model());
        let contract = source.whole_contract()?;
        let tokenizer = contract.text.as_ref().and_then(|text| text.tokenizer.as_ref());
        let file = &file.clone().with_padding(self.profile.padding(tokenizer.map(|known| &known.value.kind)));
        let mut tower = self.lowered(file);
        tower.graph.metadata = self.metadata(file)?;
        let path = source.checkpoint().weights_path();
        let refuse = |cause| ExportError::Read { path: path.to_owned(), cause };
        let layout = tower.layout(self.profile.external(file, self.settings)).map_err(refuse)?;

        let main = staging.file(&file.path)?;
        let folder = file.path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let beside = layout.external().map(|(name, size)| (format!("{folder}{name}"), size));
        let external = beside.as_ref().map(|(name, _)| staging.file(name)).transpose()?;
        main.set_length(layout.model_size())?;
        if let (Some(external), Some((_, size))) = (&external, &beside) {
            external.set_length(*size)?;
        }
        let values = PlannedValues::new(source);
        let sizes: Vec<usize> = tower.graph.initializers.iter().map(TensorInfo::bytes).collect();
        let hashes = run_jobs(&largest_first(&sizes), &|index| {
            let place = layout.place(index);
            let out = external.as_ref().filter(|_| place.external).unwrap_or(&main);
            let (mut hash, mut offset, mut written) = (Sha256::new(), place.offset, Ok(()));
            let made = tower.stream(index, &model.parameters, &values, &mut |bytes| {
                if written.is_ok() {
                    hash.update(bytes);
                    written =
                        self.run.advance(bytes.len()).and_then(|()| Ok(out.write_all_at(offset, bytes)?));
                    offset += bytes.len() as u64;
                }
            });
            written?;
            made.map_err(|cause| ExportError::Onnx { path: path.to_owned(), cause })?;
            Ok::<String, ExportError>(hex(hash))
        })?;
        let names = std::iter::once(file.path.clone()).chain(beside.map(|(name, _)| name)).collect();
        let external = layout.external().map(|(name, _)| name.to_owned());
        let graph = tower.graph;
        Ok((names, WrittenGraph { path: file.path.clone(), file: main, external, graph, hashes }))
    }

    fn precision_name(&self) -> &'static str {
        match &self.settings.int8 {
            Some(int8) if int8.ranges.is_some() => "int8",
            Some(_) => "int8-weights",
            None => self.source.precision().unwrap_or(Precision::F32).name(),
        }
    }

    /// What a file says of itself, by key.
    fn metadata(&self, file: &ModelFile) -> Result<Vec<(String, String)>, ExportError> {
        let (config, model) = (self.source.config(), self.source.model());
        let mut contract = self.source.whole_contract()?;
        self.licenses.apply(&mut contract);
        // Their hashes are known when everything is written.
        let unknown = |source: &Arc<FileSource>| (file_name(source.path()), UNKNOWN_HASH.to_owned());
        let sources = self.source.checkpoint().sources().iter().map(unknown).collect();
        let mut pairs = vec![
            ("config", config.model.to_config_file(&config.preprocess())),
            ("context_length", model.context_length.to_string()),
            ("contract", serde_json::to_string(&contract).unwrap_or_default()),
            ("embed_dim", model.embed_dim.to_string()),
            ("normalized", file.is_normalized().to_string()),
            ("precision", self.precision_name().to_owned()),
            ("source", self.source.path().file_name().unwrap_or_default().to_string_lossy().into_owned()),
            (SOURCE_FILES, hashes_of(&sources)),
            ("tower", file.content.name().to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        // What others read is said once more, beside the contract.
        pairs.extend(contract.logit_scale.as_ref().map(|known| ("logit_scale", known.value.to_string())));
        pairs.extend(contract.logit_bias.as_ref().map(|known| ("logit_bias", known.value.to_string())));
        pairs.extend(contract.license.as_ref().map(|known| ("license", known.value.clone())));
        pairs.extend(self.source.origin().name().map(|name| ("model", name.to_owned())));
        if let FileContent::Classifier(classifier) = &file.content {
            for (key, texts) in [("labels", &classifier.labels), ("templates", &classifier.templates)] {
                pairs.push((key, serde_json::to_string(texts).unwrap_or_default()));
            }
        }
        pairs.sort();
        Ok(pairs.into_iter().map(|(key, value)| (format!("clipway.{key}"), value)).collect())
    }
}

/// Key of the hashes of the source's files.
const SOURCE_FILES: &str = "source_files";

/// Stands for a SHA-256 until it is known; what stands behind it in a file stays where it is.
const UNKNOWN_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hashes of the source's files by their names, as JSON.
fn hashes_of(files: &BTreeMap<String, String>) -> String {
    serde_json::to_string(files).unwrap_or_default()
}

impl Writer for OnnxJob<'_> {
    fn write(&self, staging: &Staging, format: WeightsFormat) -> Result<WrittenFiles, ExportError> {
        let mut written = WrittenFiles::new(format);
        let files = self.profile.model_files(
            self.source.tower(),
            self.source.config(),
            self.precision,
            self.settings,
        );
        for file in files {
            let (names, graph) = self.write_graph(staging, &file)?;
            written.names.extend(names);
            written.graphs.push(graph);
        }
        Ok(written)
    }

    fn finish(
        &self,
        written: &mut WrittenFiles,
        source_files: &BTreeMap<String, FileHash>,
    ) -> Result<(), ExportError> {
        let known = source_files.iter().map(|(name, hash)| (name.clone(), hash.sha256.clone())).collect();
        for WrittenGraph { path, file, external, graph, .. } in &mut written.graphs {
            let key = format!("clipway.{SOURCE_FILES}");
            for (_, value) in graph.metadata.iter_mut().filter(|(name, _)| *name == key) {
                *value = hashes_of(&known);
            }
            let external = external
                .as_ref()
                .map_or(OnnxExternal::WhereNeeded("data"), |name| OnnxExternal::Always(name));
            let refuse = |cause| ExportError::Read { path: path.as_str().into(), cause };
            for (offset, bytes) in OnnxLayout::new(graph, external).map_err(refuse)?.pieces() {
                file.write_all_at(*offset, bytes)?;
            }
        }
        Ok(())
    }

    fn read_back(&self, staging: &Staging, written: &WrittenFiles) -> Result<(), ExportError> {
        for graph in &written.graphs {
            let path = staging.target().join(&graph.path);
            let refuse = |cause: String| ExportError::ReadBack { path: path.clone(), cause };
            let file = open(&staging.folder().join(&graph.path)).map_err(&refuse)?;
            if file.tensors() != graph.graph.initializers || file.metadata() != graph.graph.metadata {
                return Err(refuse("it contains other tensors than were written".to_owned()));
            }
            let hashes =
                hash_tensors(&file, &|bytes| self.run.advance(bytes), &|cause| refuse(cause.to_string()))?;
            for ((info, expected), found) in file.tensors().iter().zip(&graph.hashes).zip(&hashes) {
                if found != expected {
                    return Err(refuse(format!("tensor `{}` differs from what was written", info.name)));
                }
            }
        }
        Ok(())
    }

    fn files(
        &self,
        tokenizer: &TokenizerParts,
        written: &[WrittenFiles],
    ) -> Result<Vec<(String, Vec<u8>)>, ExportError> {
        let contract = self.source.whole_contract()?;
        let names = written.iter().flat_map(|files| &files.names);
        let file_name = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
        let external = names
            .filter(|name| !name.ends_with(".onnx"))
            .map(|name| file_name(name).trim_end_matches("_data").to_owned());
        let facts = Facts {
            config: self.source.config(),
            rules: tokenizer.rules.as_ref(),
            logit_scale: contract.logit_scale.map_or(1.0, |known| known.value),
            logit_bias: contract.logit_bias.map(|known| known.value),
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
