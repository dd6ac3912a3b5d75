//! An exported folder as it reads in a repository: with the repository's card, and a `clipway.json` that lists it.

use std::collections::BTreeMap;
use std::path::Path;

use clipway_formats::{FormatError, shown, shown_path};
use clipway_hub::{Hub, PushFile, RepoName, Tree};
use clipway_model::artifact::{ARTIFACT_NAME, Artifact, FileHash};
use clipway_model::checkpoint::CONFIG_NAME;
use clipway_model::config::ConfigFile;
use clipway_model::export::card::{self, CardError, Merged};
use clipway_model::front_matter;
use clipway_model::input;
use clipway_model::layout::OWN_TOKENIZER;
use clipway_model::license::{CARD_NAME, Licenses};

use super::failure;
use crate::failure::{self as failures, Failure};

/// Most bytes of a card.
const LARGEST_CARD: u64 = 4 << 20;
/// Most names in a note.
const MOST_NAMES: usize = 5;

/// Which card the repository gets.
pub enum Card<'a> {
    /// The folder's, beside what people wrote in the repository.
    Merged {
        /// Whether to change a card that people wrote.
        update: bool,
    },
    /// The one in this file.
    Own(&'a Path),
}

/// How a folder changes on its way into a repository.
pub struct Changes<'a> {
    /// The license that was given, and where its text is.
    pub license: Option<(&'a str, Option<&'a str>)>,
    /// The card.
    pub card: Card<'a>,
    /// Whether the config names the repository as the place of its tokenizer, whatever it names now.
    pub names_tokenizer: bool,
}

/// What is uploaded.
pub struct Published {
    /// The files.
    pub files: Vec<PushFile>,
    /// The card among them.
    pub card: String,
    /// The artifact that the uploaded `clipway.json` describes.
    pub artifact: Artifact,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Makes the files of a repository from an exported folder. Its weights and configs stay as they are; the license may be
/// given, and the card is composed. `clipway.json` lists the card that is uploaded, so that `verify` of what is pulled
/// passes.
pub fn publish(
    hub: &Hub,
    (repo, head): (&RepoName, Option<&Tree>),
    (folder, artifact): (&Path, &Artifact),
    Changes { license, card, names_tokenizer }: Changes<'_>,
) -> Result<Published, Failure> {
    let refuse = |error| failure(&error);
    let mut artifact = artifact.clone();
    let mut ours = text_of(&folder.join(CARD_NAME))?;
    let mut notes = Vec::new();
    if let Some((license, link)) = license {
        let licenses = Licenses::agreed(&artifact.contract).with_option(license, link);
        notes.extend(licenses.notes());
        licenses.apply(&mut artifact.contract);
        ours = card::relicensed(&ours, &artifact).map_err(|error| card_failure(&error))?;
    }
    let ours = card::for_repository(&ours, repo.as_str());
    let existing = match head {
        Some(head) => hub.small(repo, head, CARD_NAME, LARGEST_CARD).map_err(refuse)?,
        None => None,
    };
    let existing = existing.map(String::from_utf8).transpose();
    let existing =
        existing.map_err(|_| Failure::no("hub-card", format!("`{CARD_NAME}` of `{repo}` is not UTF-8")))?;
    let merged = match (card, existing) {
        (Card::Own(path), _) => card::completed(&text_of(path)?, &ours),
        (Card::Merged { update }, Some(existing)) => card::merged(&existing, &ours, update),
        (Card::Merged { .. }, None) => Ok(Merged { text: ours, notes: Vec::new() }),
    };
    let Merged { text, notes: of_card } = merged.map_err(|error| card_failure(&error))?;
    notes.extend(of_card);
    notes.extend(problems(&text));
    let config = config_for(folder, &artifact, repo, names_tokenizer)?;
    let mut changed: BTreeMap<&str, Vec<u8>> = BTreeMap::from([(CARD_NAME, text.clone().into_bytes())]);
    changed.extend(config.map(|config| (CONFIG_NAME, config)));
    artifact.files.extend(changed.iter().map(|(name, bytes)| ((*name).to_owned(), FileHash::of(bytes))));
    changed.insert(ARTIFACT_NAME, artifact.to_json().into_bytes());
    let mut files = Vec::new();
    for file in PushFile::folder(folder).map_err(refuse)? {
        files.push(match changed.remove(file.path.as_str()) {
            Some(bytes) => PushFile::of(&file.path, bytes).map_err(refuse)?,
            None => file,
        });
    }
    notes.extend(head.and_then(|head| strangers(head, &artifact)));
    Ok(Published { files, card: text, artifact, notes })
}

/// The config that names the repository as the place of its tokenizer. open_clip reads the files of a folder whatever
/// the name, but for `hf-hub:` it goes by the name.
fn config_for(
    folder: &Path,
    artifact: &Artifact,
    repo: &RepoName,
    is_asked: bool,
) -> Result<Option<Vec<u8>>, Failure> {
    if !artifact.files.contains_key(CONFIG_NAME) {
        return Ok(None);
    }
    let path = folder.join(CONFIG_NAME);
    let bytes = input::read(&path, input::Kind::Config).map_err(|error| failures::input(&error))?;
    let refuse =
        |error: FormatError| Failure::no(error.code.name(), format!("`{}`: {error}", shown_path(&path)));
    let mut config = ConfigFile::parse(&bytes).map_err(refuse)?;
    let name = config.model.text.tokenizer.name.as_deref();
    if !name.is_some_and(|name| is_asked || name == OWN_TOKENIZER) {
        return Ok(None);
    }
    config.model.set_tokenizer_name(repo.as_str()).map_err(refuse)?;
    Ok(Some(config.model.to_config_file(&config.preprocess()).into_bytes()))
}

/// A card's text.
fn text_of(path: &Path) -> Result<String, Failure> {
    let bytes = input::read(path, input::Kind::Config).map_err(|error| failures::input(&error))?;
    String::from_utf8(bytes)
        .map_err(|_| Failure::no("malformed", format!("`{}` is not UTF-8", shown_path(path))))
}

fn card_failure(error: &CardError) -> Failure {
    Failure::no("hub-card", failures::chain(error))
        .hint("correct the front matter, or pass a card of your own with `--card FILE.md`")
}

/// What the Hub would not take, or a reader would miss, in a card's front matter.
fn problems(text: &str) -> Vec<String> {
    let front = match front_matter::split(text) {
        Ok((front, _)) => front.unwrap_or_default(),
        Err(error) => return vec![format!("`{CARD_NAME}`: {error}")],
    };
    card::problems(&front).into_iter().map(|problem| format!("`{CARD_NAME}`: {problem}")).collect()
}

/// Files of the repository that stay there and that `clipway.json` does not list.
fn strangers(head: &Tree, artifact: &Artifact) -> Option<String> {
    let is_stranger = |name: &&String| !artifact.lists(name) && name.as_str() != ".gitattributes";
    let names: Vec<&String> = head.files.keys().filter(is_stranger).collect();
    let first =
        names.iter().take(MOST_NAMES).map(|name| format!("`{}`", shown(name))).collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(MOST_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!names.is_empty())
        .then(|| format!("the repository keeps {first}{more}, which `verify` will report as not listed"))
}
