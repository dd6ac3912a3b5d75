//! What must hold for a case: read from a `case.json` in the case's folder, else from the project's own list.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::script;

/// What must hold for each known case, by the name of its folder.
static KNOWN: &str = include_str!("../../data/cases.json");

/// The file by which a case states what must hold for it.
const OWN: &str = "case.json";

/// What must hold for a case: every step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Why a refusal is accepted where the features could be right, or what else a reader must know.
    #[serde(default)]
    pub note: Option<String>,
    /// Whether `--fast` runs it.
    #[serde(default)]
    pub fast: bool,
    /// Files that are copied into the case, from paths relative to its own folder.
    #[serde(default)]
    pub copies: BTreeMap<String, String>,
    /// Files that are written into the case: texts as they are, other values as JSON.
    #[serde(default)]
    pub writes: BTreeMap<String, serde_json::Value>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One thing that must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// A command ends as stated.
    Run(Run),
    /// `embed` gives the features of a reference.
    Embed(Embed),
    /// `export` to a folder, and features of both the source and the folder are the same as in a reference.
    Export(Embed),
    /// A command is refused with a stable code, and what `--out` names is not there.
    Refused(Refused),
    /// `embed` takes all inputs of a kind at once: each that the reference has is right, no other is taken.
    Each(Each),
    /// The steps of at least one alternative hold: what may be refused, or else must be right.
    Either(Vec<Vec<Step>>),
}

/// A command and how it ends. Arguments may name files of the case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The arguments.
    pub arguments: Vec<String>,
    /// The exit status.
    pub status: i32,
    /// The error's code, as `[code]` in its message.
    pub code: Option<String>,
    /// What the output or the message holds, each in upper or lower case.
    #[serde(default)]
    pub says: Vec<String>,
    /// What neither holds.
    #[serde(default)]
    pub never: Vec<String>,
    /// Files that are there afterwards.
    #[serde(default)]
    pub there: Vec<String>,
    /// Numbers of rows in files of safetensors that the command wrote.
    #[serde(default)]
    pub rows: Vec<Rows>,
    /// Values in JSON files that the command wrote.
    #[serde(default)]
    pub json: Vec<JsonValue>,
}

/// A command that must be refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The arguments.
    pub arguments: Vec<String>,
    /// The error's code; any without it.
    pub code: Option<String>,
    /// What the message holds, each in upper or lower case.
    #[serde(default)]
    pub says: Vec<String>,
}

/// Many inputs whose references are tensors of their own, by the names of files or the numbers of texts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Each {
    /// The source.
    pub source: String,
    /// Options of `embed`.
    #[serde(default)]
    pub options: Vec<String>,
    /// The file of safetensors with the reference's features.
    pub reference: String,
    /// A folder of images, or a JSON file with texts.
    pub inputs: String,
    /// Images that the reference has and that may be refused by name.
    #[serde(default)]
    pub may_refuse: Vec<String>,
    /// The smallest cosine that is right.
    #[serde(default = "least")]
    pub cosine: f64,
}

/// A number of rows in a file of safetensors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// The file.
    pub file: String,
    /// The tensor.
    pub tensor: String,
    /// The number.
    pub is: usize,
}

/// A value in a JSON file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonValue {
    /// The file.
    pub file: String,
    /// Where in it, as a JSON pointer.
    pub at: String,
    /// The value.
    pub is: serde_json::Value,
}

/// Features and their reference.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embed {
    /// The source.
    pub source: String,
    /// Options of both commands, such as `--model`.
    #[serde(default)]
    pub options: Vec<String>,
    /// The file of safetensors with the reference's features.
    pub reference: String,
    /// The reference's tensor of text features, where it is not `text_features`.
    pub text_key: Option<String>,
    /// The reference's tensor of image features, where it is not `image_features`.
    pub image_key: Option<String>,
    /// A JSON file with the texts, or the texts themselves, in place of those that all cases share.
    pub texts: Option<Texts>,
    /// The images, in place of those that all cases share.
    pub images: Option<Vec<String>>,
    /// The smallest cosine that is right.
    #[serde(default = "least")]
    pub cosine: f64,
}

pub fn least() -> f64 {
    0.99999
}

/// Texts of a case.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// A JSON file that holds them.
    File(String),
    /// The texts.
    These(Vec<String>),
}

/// Finds what must hold for a case.
pub fn find(folder: &Path) -> Result<Judge, String> {
    let own = folder.join(OWN);
    if own.is_file() {
        let text = std::fs::read_to_string(&own).map_err(|error| format!("`{OWN}`: {error}"))?;
        return checked(serde_json::from_str(&text).map_err(|error| format!("`{OWN}`: {error}"))?);
    }
    let known: BTreeMap<String, Judge> =
        serde_json::from_str(KNOWN).map_err(|error| format!("the list of cases: {error}"))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let judge = known.get(&*name).cloned().or_else(|| script::derived(folder));
    let unknown = || {
        format!(
            "nothing says what is right: it has no `{OWN}`, is not in the list, and its `run.sh` exports nothing"
        )
    };
    checked(judge.ok_or_else(unknown)?)
}

fn checked(judge: Judge) -> Result<Judge, String> {
    if judge.steps.is_empty() { Err("no step says what is right".to_owned()) } else { Ok(judge) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_whole() {
        let known: BTreeMap<String, Judge> = serde_json::from_str(KNOWN).unwrap();
        assert!(known.len() > 50 && known.values().all(|judge| !judge.steps.is_empty()));
    }

    #[test]
    fn a_case_of_its_own_wins_and_an_unknown_one_fails() {
        let place = tempfile::tempdir().unwrap();
        let case = place.path().join("00-control");
        std::fs::create_dir(&case).unwrap();
        assert_eq!(find(&case).unwrap().steps.len(), 1);
        let own = r#"{"steps": [{"run": {"arguments": ["--version"], "status": 0}}, {"either": [[], []]}]}"#;
        std::fs::write(case.join(OWN), own).unwrap();
        assert_eq!(find(&case).unwrap().steps.len(), 2);
        for wrong in [r#"{"steps": []}"#, r#"{"step": []}"#, r#"{"steps": [{"run": {"arguments": []}}]}"#] {
            std::fs::write(case.join(OWN), wrong).unwrap();
            assert!(find(&case).is_err(), "{wrong}");
        }
        let standard = place.path().join("98-standard");
        std::fs::create_dir(&standard).unwrap();
        std::fs::write(standard.join("make.py"), "ref(model)").unwrap();
        std::fs::write(standard.join("run.sh"), "$C export a.pt --model tiny.json --out out --force\n")
            .unwrap();
        assert_eq!(find(&standard).unwrap().steps.len(), 1);
        let stranger = place.path().join("99-stranger");
        std::fs::create_dir(&stranger).unwrap();
        assert!(find(&stranger).unwrap_err().starts_with("nothing says"));
    }
}
