//! A card for a repository on the Hub, beside what people wrote there.

use super::front::set_license;
use super::usage::FOLDER;
use super::{BEGIN, END, LICENSE_TITLE, license};
use crate::artifact::Artifact;
use crate::front_matter::{FrontMatter, FrontMatterError, split};

/// Keys that state the license.
const LICENSE: [&str; 3] = ["license", "license_name", "license_link"];

/// Other keys that an update sets to what the artifact states.
const OURS: [&str; 4] = ["library_name", "pipeline_tag", "base_model", "base_model_relation"];

/// A card that cannot be completed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`README.md` cannot be completed")]
pub struct CardError(#[from] FrontMatterError);

/// A card that keeps what people wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The whole card.
    pub text: String,
    /// What its reader and the pusher should know.
    pub notes: Vec<String>,
}

/// The card of an exported folder, as it reads in a repository: examples name the repository instead of a folder.
pub fn for_repository(card: &str, repository: &str) -> String {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    let replacements = [
        (
            format!("\n\nfolder = '{FOLDER}'\n"),
            format!(
                "\nfrom huggingface_hub import snapshot_download\n\nfolder = snapshot_download('{repository}')\n"
            ),
        ),
        (format!("'local-dir:{FOLDER}'"), format!("'hf-hub:{repository}'")),
        (format!("'{FOLDER}'"), format!("'{repository}'")),
        (FOLDER.to_owned(), format!("hf-hub:{repository}")),
    ];
    let mut card = card.to_owned();
    for (from, to) in replacements {
        card = card.replace(&from, &to);
    }
    match card
        .split_once(&format!("{BEGIN}# "))
        .and_then(|(front, rest)| Some((front, rest.split_once('\n')?.1)))
    {
        Some((front, rest)) => format!("{front}{BEGIN}# {name}\n{rest}"),
        None => card,
    }
}

/// Merges our card into the one of a repository.
///
/// Without `update`, what people wrote stays: our part is replaced where it has its marks, missing keys are added to the
/// front matter, and a card without the marks stays as it is, byte for byte. A card with nothing but our part is renewed as
/// a whole. With `update`, a card without the marks gets
/// our part at its end, and the front matter states our license, library, task and base model.
///
/// # Errors
/// Front matter that cannot be read, if it would have to be changed.
pub fn merged(existing: &str, ours: &str, update: bool) -> Result<Merged, CardError> {
    let (our_front, our_body) = split(ours)?;
    let our_front = our_front.unwrap_or_default();
    let place = existing.find(BEGIN).and_then(|start| {
        let end = existing[start..].find(END)?;
        Some((start, start + end + END.len()))
    });
    let (front, body) = match (split(existing), place) {
        (Ok((front, body)), _) => (front.unwrap_or_default(), body),
        (Err(error), _) if update => return Err(error.into()),
        // What cannot be read stays.
        (Err(error), place) => {
            let renewed = place.map(|place| renewed(existing, existing, place, our_body));
            let notes = vec![format!("the repository's README: {error}")];
            return Ok(Merged { text: renewed.unwrap_or_else(|| existing.to_owned()), notes });
        }
    };
    let Some(place) = place else {
        if !update {
            return Ok(Merged { text: existing.to_owned(), notes: differences(&front, &our_front) });
        }
        let front = updated(front, &our_front, true);
        let text = format!("{front}{}\n\n{our_body}", body.trim_end());
        return Ok(Merged { text, notes: differences(&front, &our_front) });
    };
    let text = renewed(existing, body, place, our_body);
    let is_all_ours = text.trim() == our_body.trim();
    let front = updated(front, &our_front, update || is_all_ours);
    Ok(Merged { text: format!("{front}{text}"), notes: differences(&front, &our_front) })
}

/// Front matter with the keys of ours that it lacks, and if `follows` with our values of what the artifact states.
fn updated(mut front: FrontMatter, ours: &FrontMatter, follows: bool) -> FrontMatter {
    front.complete(ours);
    if follows {
        LICENSE.iter().chain(&OURS).for_each(|key| _ = front.follow(ours, key));
    }
    front
}

/// The text below the front matter with our part, which is at `place`, renewed.
fn renewed(existing: &str, body: &str, (start, end): (usize, usize), ours: &str) -> String {
    let before = (existing.len() - body.len()).min(start);
    format!("{}{ours}{}", &existing[before..start], &existing[end..])
}

/// A card that someone wrote for this push, with the keys that its front matter lacks.
///
/// # Errors
/// Front matter that cannot be read.
pub fn completed(own: &str, ours: &str) -> Result<Merged, CardError> {
    let our_front = split(ours)?.0.unwrap_or_default();
    let (front, body) = split(own)?;
    let front = updated(front.unwrap_or_default(), &our_front, false);
    let notes = differences(&front, &our_front);
    Ok(Merged { text: format!("{front}{body}"), notes })
}

/// A card with another license than the one that it was written with.
///
/// # Errors
/// Front matter that cannot be read.
pub fn relicensed(card: &str, artifact: &Artifact) -> Result<String, CardError> {
    let (front, body) = split(card)?;
    let mut front = front.unwrap_or_default();
    let mut stated = FrontMatter::default();
    set_license(&mut stated, artifact);
    LICENSE.iter().for_each(|key| _ = front.follow(&stated, key));
    let section = license(artifact);
    let body = match body.rsplit_once(END) {
        Some((ours, rest)) => {
            let ours = ours.rsplit_once(LICENSE_TITLE).map_or(ours, |(before, _)| before);
            format!("{ours}{section}{END}{rest}")
        }
        None => body.to_owned(),
    };
    Ok(format!("{front}{body}"))
}

/// Where the front matter of a card states another license than the artifact, or none.
fn differences(front: &FrontMatter, ours: &FrontMatter) -> Vec<String> {
    let named = |front: &FrontMatter| {
        let license = front.text("license")?;
        let name = front.text("license_name").filter(|_| license == "other");
        Some(clipway_formats::shown(name.unwrap_or(license)))
    };
    match (named(front), named(ours)) {
        (Some(theirs), Some(ours)) if !theirs.eq_ignore_ascii_case(&ours) => {
            vec![format!("the README states the license `{theirs}`, but the model's is `{ours}`")]
        }
        (None, Some(ours)) => vec![format!("the README states no license; the model's is `{ours}`")],
        _ => Vec::new(),
    }
}
