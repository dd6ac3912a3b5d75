//! `index.json`: what an index is made of.

use std::io::Write;
use std::path::{Path, PathBuf};

use clipway_formats::{Json, JsonLimits};
use clipway_model::input::{Folder, Kind};
use clipway_model::output::Staging;
use clipway_run::space::Space;
use serde::{Deserialize, Serialize};

use crate::error::IndexError;
use crate::index::NewIndex;

/// The file's name.
pub(crate) const FILE: &str = "index.json";

/// What `format` says.
const FORMAT: &str = "clipway-index";

/// The version of the format that this program reads and writes.
pub const VERSION: u64 = 1;

/// The only metric: features are scaled to length 1, so that their product is the cosine.
const METRIC: &str = "cosine";

/// The rule of the int8 rows: a row is its codes times its scale, the greatest magnitude over 127.
const SCALES: &str = "row-max-127";

/// Most values of a feature.
pub const MOST_WIDTH: usize = 1 << 14;

/// The contents of `index.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    version: u64,
    pub(crate) width: usize,
    metric: String,
    scales: String,
    pub(crate) space: Space,
    pub(crate) model: Option<PathBuf>,
    /// Where features came from that no model of this program made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) imported: Option<PathBuf>,
    created_by: String,
}

impl Manifest {
    /// The manifest of a new index, of features that were imported from a place or else made by its model.
    pub(crate) fn new(new: NewIndex, imported: Option<PathBuf>) -> Result<Manifest, IndexError> {
        let NewIndex { space, model } = new;
        let width = space.width;
        check_width(width)?;
        Ok(Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            width,
            metric: METRIC.to_owned(),
            scales: SCALES.to_owned(),
            space,
            model,
            imported,
            created_by: concat!("clipway ", env!("CARGO_PKG_VERSION")).to_owned(),
        })
    }

    /// Reads the manifest of the index in a folder.
    pub(crate) fn read(folder: &Folder) -> Result<Manifest, IndexError> {
        let path = folder.path().join(FILE);
        let none = |reason: String| IndexError::NotAnIndex { path: folder.path().to_owned(), reason };
        let bytes = folder.read(FILE, Kind::Config)?.ok_or_else(|| none(format!("it has no `{FILE}`")))?;
        // The strict reader refuses what serde would let pass: duplicate keys, and nesting without end.
        let json = Json::parse(&bytes, JsonLimits { byte_order_mark: false, ..JsonLimits::CONFIG });
        let json = json.map_err(|error| IndexError::damaged(&path, error.to_string()))?;
        let said = |key: &str| json.root().get(key).ok().flatten();
        if said("format").and_then(|format| format.string().ok()) != Some(FORMAT) {
            return Err(none(format!("`{FILE}` does not say `\"format\": \"{FORMAT}\"`")));
        }
        if let Some(found) = said("version").and_then(|version| version.integer(0, usize::MAX).ok())
            && found as u64 != VERSION
        {
            return Err(IndexError::Version { path, found: found as u64, expected: VERSION });
        }
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| IndexError::damaged(&path, error.to_string()))?;
        for (key, found, expected) in
            [("metric", &manifest.metric, METRIC), ("scales", &manifest.scales, SCALES)]
        {
            if found != expected {
                return Err(IndexError::damaged(
                    &path,
                    format!("`{key}`: expected `{expected}`, found another value"),
                ));
            }
        }
        check_width(manifest.width)?;
        if manifest.space.width != manifest.width {
            let reason =
                format!("`space`: expected a width of {}, found {}", manifest.width, manifest.space.width);
            return Err(IndexError::damaged(&path, reason));
        }
        Ok(manifest)
    }

    /// Writes the manifest of a new index.
    pub(crate) fn write(&self, staging: &Staging) -> Result<(), IndexError> {
        let file = staging.file(FILE)?;
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| IndexError::io("write", Path::new(FILE))(error.into()))?;
        text.push(b'\n');
        (&*file).write_all(&text).map_err(IndexError::io("write", file.path()))
    }
}

/// Refuses widths outside of the format.
fn check_width(width: usize) -> Result<(), IndexError> {
    match width {
        0 => Err(IndexError::Width { expected: 1, found: 0 }),
        1..=MOST_WIDTH => Ok(()),
        _ => {
            let (found, limit) = (width as u64, MOST_WIDTH as u64);
            Err(IndexError::TooLarge { what: "the width of the features", found, limit })
        }
    }
}
