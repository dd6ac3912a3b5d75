//! `clipway check`: whether a model can be deployed as it is, as a list of points, each with what mends it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum as _};
use clipway_formats::{shown, shown_path};
use clipway_model::artifact::Artifact;
use clipway_model::contract::Contract;
use clipway_model::inspect::InspectOptions;
use clipway_model::source::SourceOptions;
use serde_json::json;

use super::inspect;
use crate::checklist::{self, Checklist, Program};
use crate::contract;
use crate::failure::{COULD_NOT_RUN, Failure, INTERRUPTED};
use crate::output;
use crate::source::{self, MainSource, SourceArguments};
use crate::ui::Ui;

/// Check whether a model can be deployed as it is: format, config, preprocessing, tokenizer, values, verification, and
/// which programs load it
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    pub(super) source: MainSource,

    /// Programs that must load it as it is
    #[arg(long = "for", value_name = "PROGRAM", value_enum, value_delimiter = ',')]
    programs: Vec<Program>,

    /// Leave out what reads every weight: the range of the values, and hashes
    #[arg(long)]
    quick: bool,

    /// Also write the list to this file as a web page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Replace an existing page
    #[arg(long, requires = "html")]
    force: bool,

    #[command(flatten)]
    pub(super) arguments: SourceArguments,
}

/// What a check found.
#[derive(Default)]
struct Found {
    list: Checklist,
    contract: Option<Contract>,
    artifact: Option<Artifact>,
}

impl Check {
    /// Checks and prints; false if a point fails.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let open = |html: &Path| output::file(html, self.force, &[&self.source.name]);
        let staging = self.html.as_deref().map(open).transpose()?;
        let found = self.found(ui)?;
        let artifact = found.artifact.as_ref();
        if let Some(staging) = staging {
            let name = shown_path(&self.source.name).to_string();
            let report = artifact.and_then(|artifact| artifact.verification.as_ref());
            let page = checklist::page(&name, &found.list, found.contract.as_ref(), report);
            output::put(staging, |mut file| file.write_all(page.as_bytes()))?;
        }
        if ui.json() {
            let name = self.source.name.to_string_lossy();
            ui.data_json(
                &json!({ "source": name, "passes": found.list.passes(), "points": found.list.points }),
            )?;
        } else {
            ui.data(&found.list.text())?;
        }
        Ok(found.list.passes())
    }

    fn found(&self, ui: &Ui) -> Result<Found, Failure> {
        let mut found = Found::default();
        let given = self.given();
        // A source that is refused has one point; one that could not be read at all is trouble.
        let unopened = |failure: Failure| match failure.exit_code {
            COULD_NOT_RUN | INTERRUPTED => Err(failure),
            _ => Ok(checklist::unopened(&failure)),
        };
        if self.source.name.is_dir() {
            match Artifact::find(&self.source.name) {
                Ok(artifact) => found.artifact = artifact,
                Err(error) => {
                    found.list.points.push(unopened(source::artifact_failure(&error))?);
                    return Ok(found);
                }
            }
            match source::graphs(&self.source.name, self.arguments.backend) {
                Ok(Some(folder)) if !has_weights(&self.source.name) => {
                    found.list.points.extend(checklist::graphs(&folder));
                    self.add_artifact(&mut found);
                    found.list.points.extend(checklist::programs(
                        &self.source.name,
                        &given,
                        None,
                        &self.programs,
                    ));
                    return Ok(found);
                }
                Ok(_) => {}
                Err(failure) => found.list.points.push(unopened(failure)?),
            }
        }
        let checkpoint = match self.arguments.open(&self.source.name) {
            Ok(checkpoint) => checkpoint,
            Err(failure) => {
                found.list.points.push(unopened(failure)?);
                return Ok(found);
            }
        };
        let options =
            InspectOptions { selection: self.arguments.selection(), tensors: false, statistics: !self.quick };
        let inspection = inspect::inspection(&checkpoint, &options, ui)?;
        let options = self.arguments.options(Some(&self.source.name));
        let resolved = source::resolve(&checkpoint, &options);
        let known =
            resolved.and_then(|mut source| contract::of(&mut source).map(|contract| (source, contract)));
        let seen = known.as_ref().map(|(source, contract)| (source, contract));
        found.list.points.extend(checklist::source(&given, &inspection, seen));
        self.add_artifact(&mut found);
        if let Ok((source, contract)) = known {
            // What is written for programs has images of one size.
            let written = source::resolve(&checkpoint, &SourceOptions { one_size: true, ..options });
            let written = written.as_ref().unwrap_or(&source);
            let programs = checklist::programs(&self.source.name, &given, Some(written), &self.programs);
            found.list.points.extend(programs);
            found.contract = Some(contract);
        }
        Ok(found)
    }

    /// The source with its options, as on the command line.
    fn given(&self) -> String {
        let SourceArguments { model, under, base, weights, .. } = &self.arguments;
        let model = model.as_ref().map(|model| format!(" --model {}", shown(model)));
        let under = under.as_ref().map(|under| format!(" --under {}", shown(under)));
        let base = base.as_ref().map(|base| format!(" --base {}", base.said()));
        let weights = weights
            .and_then(|weights| Some(format!(" --weights {}", weights.to_possible_value()?.get_name())));
        let options = [model, under, base, weights].into_iter().flatten().collect::<String>();
        format!("{}{options}", self.source.name.said())
    }

    fn add_artifact(&self, found: &mut Found) {
        let points =
            checklist::artifact(&self.source.name, &self.given(), found.artifact.as_ref(), !self.quick);
        found.list.points.extend(points);
    }
}

/// Whether a folder of graphs has weights of its own beside them.
fn has_weights(folder: &Path) -> bool {
    let names = [
        "model.safetensors",
        "open_clip_model.safetensors",
        "pytorch_model.bin",
        "open_clip_pytorch_model.bin",
    ];
    names.iter().any(|name| folder.join(name).is_file())
}
