//! `clipway push`: a source, exported and verified, or an exported folder, to the Hub.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use clipway_formats::{FileFormat, shown, shown_path};
use clipway_hub::{Hub, PushOptions, PushPlan, PushState, RepoName, Tree};
use clipway_model::artifact::Artifact;
use clipway_model::license::Licenses;
use serde_json::json;
use tempfile::TempDir;

use super::destination::Destination;
use super::export::{ExportOptions, Subject};
use super::license;
use crate::failure::Failure;
use crate::hub::{self, Published, client, failure};
use crate::source::artifact_failure;
use crate::source_name::SourceName;
use crate::text::bytes;
use crate::ui::Ui;

/// Export a source, verified, and upload it to the Hugging Face Hub, or upload a folder that was exported
#[derive(Args)]
pub struct Push {
    #[command(flatten)]
    given: Given,

    /// A source to export and upload, or a folder that `clipway export` wrote, which is uploaded as it is
    #[arg(
        value_name = "SOURCE|DIR",
        required_unless_present = "pretrained",
        default_value = "",
        hide_default_value = true
    )]
    source: SourceName,

    /// Repository to write, created if it does not exist
    #[arg(long, value_name = "OWNER/NAME")]
    repo_id: String,

    /// Branch to write
    #[arg(long, value_name = "BRANCH")]
    revision: Option<String>,

    /// Create the repository as a private one
    #[arg(long)]
    private: bool,

    /// Open a pull request instead of writing to the branch
    #[arg(long)]
    create_pr: bool,

    /// Message of the commit
    #[arg(long, value_name = "TEXT", default_value = "Add model")]
    commit_message: String,

    /// Model card to upload; keys that its front matter lacks are added
    #[arg(long, value_name = "FILE.md", conflicts_with = "update_card")]
    card: Option<PathBuf>,

    /// Add clipway's part to a README that people wrote, and set its license, library and task
    #[arg(long)]
    update_card: bool,

    /// Export and check, and print the files, sizes, hashes and the card, without uploading anything
    #[arg(long)]
    dry_run: bool,

    /// Upload a folder that was exported without verification
    #[arg(long)]
    allow_unverified: bool,

    /// Keep the exported folder here, which must not exist [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Let the config name the uploaded repository as the place of its Hugging Face tokenizer
    #[arg(long)]
    hf_tokenizer_self: bool,

    #[command(flatten)]
    export: ExportOptions,
}

/// What is uploaded: a folder, and the temporary one that holds it.
struct Folder {
    path: PathBuf,
    artifact: Artifact,
    /// Whether it was exported now, and its license named.
    is_new: bool,
    _temporary: Option<TempDir>,
}

impl Push {
    /// The sources, which may be on the Hub.
    pub fn sources(&mut self) -> Result<Vec<&mut SourceName>, Failure> {
        if self.export.source_arguments.pretrained.is_some() {
            self.export.default_to_fp32();
        }
        self.export.source_arguments.sources(&mut self.source)
    }

    /// Exports if need be, checks the folder and uploads what changed.
    pub fn run(self, ui: &Ui) -> Result<bool, Failure> {
        let refuse = |error| failure(&error);
        let repo = RepoName::parse(&self.repo_id).map_err(refuse)?;
        let options = PushOptions {
            revision: self.revision.clone(),
            private: self.private,
            pull_request: self.create_pr,
            summary: self.commit_message.clone(),
            dry_run: self.dry_run,
        };
        let hub = client(ui)?;
        // What keeps a push from starting is found before an export that may take minutes.
        if hub.head(&repo, &options).map_err(refuse)?.is_none() && !self.dry_run && !hub.has_token() {
            let message = format!("`{repo}` does not exist, and without a token it cannot be created");
            return Err(Failure::could_not_run("hub-no-repo", message)
                .hint("set `HF_TOKEN` to a token that may write, or run `hf auth login`"));
        }
        let folder = self.folder(ui)?;
        let head = hub.head(&repo, &options).map_err(refuse)?;
        let published = self.published(&hub, (&repo, head.as_ref()), &folder, ui)?;
        let plan = hub.push(&repo, head.as_ref(), &published.files, &options).map_err(refuse)?;
        // A closed stdout ends the process.
        drop(folder);
        self.print(&repo, &published, &plan, ui)?;
        Ok(true)
    }

    /// The folder to upload: the given one if it is an export and nothing about the export was asked for, else a new one.
    fn folder(&self, ui: &Ui) -> Result<Folder, Failure> {
        let source = &self.source;
        let exported = source.is_dir().then(|| Artifact::find(source)).transpose();
        let exported = exported.map_err(|error| artifact_failure(&error))?.flatten();
        let folder = match exported.filter(|_| !self.given.asks_for_an_export()) {
            Some(artifact) => {
                self.check(source, &artifact)?;
                Folder { path: source.to_path_buf(), artifact, is_new: false, _temporary: None }
            }
            None => self.exported(ui)?,
        };
        if !folder.artifact.verification.as_ref().is_some_and(|report| report.passed)
            && !self.allow_unverified
        {
            let path = shown_path(&folder.path);
            return Err(Failure::no("verification", format!("`{path}` was exported without verification"))
                .hint("export it again without `--no-verify`, or pass `--allow-unverified`"));
        }
        Ok(folder)
    }

    /// Refuses a folder that is not what was exported, or has no license.
    fn check(&self, path: &Path, artifact: &Artifact) -> Result<(), Failure> {
        let folder = shown_path(path);
        let hashes = Artifact::check_hashes(path).map_err(|error| artifact_failure(&error))?;
        if !hashes.is_right() {
            let message = format!("`{folder}` is not what was exported: its hashes differ");
            return Err(Failure::no("checksum", message)
                .hint(format!("see what differs with `clipway verify {folder}`")));
        }
        match artifact.contract.license.is_some() || self.export.license().is_some() {
            true => Ok(()),
            false => Err(no_license(path, &[])),
        }
    }

    /// Exports a source to a new folder.
    fn exported(&self, ui: &Ui) -> Result<Folder, Failure> {
        if !self.export.has_one_layout() {
            let message = "`--to`: a repository has the files of one layout";
            return Err(
                Failure::could_not_run("bad-option", message).hint("push each to a repository of its own")
            );
        }
        let source = &self.source;
        let checkpoint = self.export.source_arguments.open(source)?;
        let licenses = Licenses::of(&checkpoint, checkpoint.artifact()).with_tag(source.tag());
        // The hash of an archive of OpenAI's is known once it is exported.
        let may_be_known = checkpoint.format() == FileFormat::TorchScript;
        if licenses.chosen().is_none() && self.export.license().is_none() && !may_be_known {
            return Err(no_license(source, &licenses.notes()));
        }
        let (path, temporary) = match &self.out {
            Some(out) => (out.clone(), None),
            None => {
                let made = tempfile::Builder::new().prefix("clipway-push-").tempdir();
                let temporary = made.map_err(|error| Failure::could_not_run("io", error))?;
                (temporary.path().join("model"), Some(temporary))
            }
        };
        let mut report = |_, text: String| {
            ui.say(&text);
            Ok(())
        };
        let destination = Destination::new(path.clone());
        self.export.export(&Subject::One(&checkpoint, source), &[], &destination, &mut report, ui)?;
        let artifact = Artifact::read(&path).map_err(|error| artifact_failure(&error))?;
        match artifact.contract.license.is_some() {
            true => Ok(Folder { path, artifact, is_new: true, _temporary: temporary }),
            false => Err(no_license(source, &[])),
        }
    }

    /// The files to upload, with the card and the `clipway.json` of this repository.
    fn published(
        &self,
        hub: &Hub,
        (repo, head): (&RepoName, Option<&Tree>),
        folder: &Folder,
        ui: &Ui,
    ) -> Result<Published, Failure> {
        let card = match &self.card {
            Some(path) => hub::Card::Own(path),
            None => hub::Card::Merged { update: self.update_card },
        };
        let changes =
            hub::Changes { license: self.export.license(), card, names_tokenizer: self.hf_tokenizer_self };
        let published = hub::publish(hub, (repo, head), (&folder.path, &folder.artifact), changes)?;
        if !folder.is_new {
            license::warn(&published.artifact.contract, ui);
        }
        published.notes.iter().for_each(|note| ui.note(note));
        Ok(published)
    }

    /// Prints what was done, or would be.
    fn print(&self, repo: &RepoName, published: &Published, plan: &PushPlan, ui: &Ui) -> Result<(), Failure> {
        let name = |state: &PushState| match state {
            PushState::Unchanged => "unchanged",
            PushState::Inline | PushState::Large => "sent",
            PushState::Ignored => "ignored",
        };
        let license = published.artifact.contract.license.as_ref().map(|license| &license.value);
        if ui.json() {
            let files: Vec<_> = plan.files.iter().map(|(file, state)| json!({
                "path": file.path, "size": file.size, "sha256": file.sha256, "git": file.git, "state": name(state),
            })).collect();
            return ui.data_json(&json!({
                "repository": repo.as_str(), "license": license, "dry_run": self.dry_run, "parent": plan.parent,
                "commit": plan.commit, "pull_request": plan.pull_request, "files": files, "card": published.card,
                "notes": published.notes,
                "restriction": published.artifact.contract.license_restriction().map(|(_, restriction)| restriction),
            }));
        }
        let mut text = String::new();
        for (file, state) in &plan.files {
            text.push_str(&format!(
                "{:<10} {:>12} {} {}\n",
                name(state),
                bytes(file.size),
                file.sha256,
                shown(&file.path)
            ));
        }
        if self.dry_run {
            text.push_str(&format!("\n{}\n", published.card));
        }
        text.push_str(&match (&plan.commit, &plan.pull_request) {
            _ if self.dry_run => "nothing was sent: this is a dry run\n".to_owned(),
            (_, Some(address)) => format!("pull request {address}\n"),
            (Some(commit), None) => format!("commit {commit}\n"),
            (None, None) => "nothing changed, so there is no commit\n".to_owned(),
        });
        ui.data(&text)
    }
}

fn no_license(path: &Path, notes: &[String]) -> Failure {
    let mut message = format!("`{}` states no license that is known", shown_path(path));
    notes.iter().for_each(|note| message.push_str(&format!("\n  {note}")));
    Failure::no("no-license", message).hint("pass `--license NAME`, such as `mit` or `apache-2.0`")
}

/// The options that were given on the command line, by their names.
#[derive(Default)]
struct Given(Vec<String>);

impl Given {
    /// Whether an option of the export was given, other than the license, which is no part of the weights.
    fn asks_for_an_export(&self) -> bool {
        let options = ExportOptions::augment_args(Command::new("export"));
        let asks = |name: &str| {
            self.0.iter().any(|given| given == name) && !["license", "license_link"].contains(&name)
        };
        let names = options.get_arguments().map(|argument| argument.get_id().as_str());
        names.chain(["out"]).any(asks)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Given, clap::Error> {
        let is_given = |id: &&clap::Id| {
            matches.value_source(id.as_str()) == Some(clap::parser::ValueSource::CommandLine)
        };
        Ok(Given(matches.ids().filter(is_given).map(|id| id.as_str().to_owned()).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Given::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}
