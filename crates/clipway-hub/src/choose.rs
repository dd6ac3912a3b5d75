//! Which files of a repository make a model.

use crate::Tree;

/// Most bytes of a file beside the weights.
const SMALL: u64 = 256 << 20;

/// Names of weights, in the order in which they are preferred: open_clip's order, then transformers'.
const WEIGHTS: [&str; 7] = [
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// open_clip's names of weights, the preferred one first.
const OPEN_CLIP: [&str; 2] = [WEIGHTS[0], WEIGHTS[1]];

/// Which weights of a repository are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those with a usual name, or the only ones.
    Usual,
    /// What open_clip takes for a pretrained tag: this file, or else the one with its usual name. A `.bin` or `.pth`
    /// gives way to a `.safetensors` of the same name.
    OpenClip(Option<String>),
    /// This file.
    File(String),
}

impl Wanted {
    /// The file that is missing where there is none of the wanted ones.
    pub fn file(&self) -> &str {
        match self {
            Wanted::Usual => WEIGHTS[2],
            Wanted::OpenClip(file) => file.as_deref().unwrap_or(OPEN_CLIP[1]),
            Wanted::File(file) => file,
        }
    }

    /// The names to look for, the preferred one first.
    fn names(&self) -> Vec<String> {
        match self {
            Wanted::Usual => WEIGHTS.map(str::to_owned).to_vec(),
            Wanted::OpenClip(Some(file)) if file != OPEN_CLIP[1] => {
                let stem = [".bin", ".pth"].iter().find_map(|end| file.strip_suffix(end));
                stem.map(|stem| format!("{stem}.safetensors")).into_iter().chain([file.clone()]).collect()
            }
            Wanted::OpenClip(_) => OPEN_CLIP.map(str::to_owned).to_vec(),
            Wanted::File(file) => vec![file.clone()],
        }
    }
}

/// The files of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The weight file or shard index to open; `None` for a folder that is read as a whole.
    pub weights: Option<String>,
    /// All files to pull.
    pub files: Vec<String>,
}

impl Choice {
    /// Chooses the weights and the small files beside them; all files where the folder is one of clipway's and no weights
    /// are named. `None` if there are no weights, or several and no rule to choose by.
    pub fn of(tree: &Tree, wanted: &Wanted) -> Option<Choice> {
        let has = |name: &String| tree.files.contains_key(name);
        if *wanted == Wanted::Usual && has(&"clipway.json".to_owned()) {
            return Some(Choice { weights: None, files: tree.files.keys().cloned().collect() });
        }
        let alone = || {
            let endings: [&[&str]; 2] = [&[".safetensors"], &[".pt", ".pth", ".bin", ".npz"]];
            endings.iter().find_map(|endings| only(tree, endings)).filter(|_| *wanted == Wanted::Usual)
        };
        let weights = wanted.names().into_iter().find(has).or_else(alone)?;
        let beside = |path: &str| folder_of(path) == folder_of(&weights);
        let shards = weights.strip_suffix(".index.json").map(|stem| {
            let (stem, ending) = stem.rsplit_once('.').unwrap_or((stem, ""));
            (format!("{stem}-"), format!(".{ending}"))
        });
        let is_shard = |path: &str| {
            shards
                .as_ref()
                .is_some_and(|(start, end)| path.starts_with(start.as_str()) && path.ends_with(end.as_str()))
        };
        let is_small = |path: &str, size: u64| {
            let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
            let ending =
                [".json", ".txt", ".model", ".md", ".jsonl"].iter().any(|ending| name.ends_with(ending));
            size <= SMALL && (ending || name.starts_with("license")) && !name.ends_with(".index.json")
        };
        let files = tree.files.iter().filter(|(path, entry)| {
            beside(path) && (**path == weights || is_shard(path) || is_small(path, entry.size))
        });
        let files = files.map(|(path, _)| path.clone()).collect();
        Some(Choice { weights: Some(weights), files })
    }
}

/// The folder of a file; empty at the top.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The only file at the top with one of these endings.
fn only(tree: &Tree, endings: &[&str]) -> Option<String> {
    let mut found = tree
        .files
        .keys()
        .filter(|path| !path.contains('/') && endings.iter().any(|ending| path.ends_with(ending)));
    let first = found.next()?;
    found.next().is_none().then(|| first.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Entry};

    fn tree(names: &[&str]) -> Tree {
        let entry = Entry { size: 1, content: Content::Git("0".repeat(40)), oid: "0".repeat(40), xet: None };
        let files = names.iter().map(|name| ((*name).to_owned(), entry.clone())).collect();
        Tree { commit: "0".repeat(40), files }
    }

    #[test]
    fn weights_are_chosen_as_open_clip_chooses() {
        let check = |names: &[&str], wanted: Wanted, weights: &str, count: usize| {
            let choice = Choice::of(&tree(names), &wanted).unwrap();
            assert_eq!(choice.weights.as_deref(), Some(weights), "{names:?}");
            assert_eq!(choice.files.len(), count, "{choice:?}");
        };
        let both =
            ["open_clip_pytorch_model.bin", "open_clip_model.safetensors", "open_clip_config.json", "x.h5"];
        let tag = |file: Option<&str>| Wanted::OpenClip(file.map(str::to_owned));
        let file = |file: &str| Wanted::File(file.to_owned());
        check(&both, Wanted::Usual, "open_clip_model.safetensors", 2);
        check(&both, tag(None), "open_clip_model.safetensors", 2);
        check(&both, tag(Some("open_clip_pytorch_model.bin")), "open_clip_model.safetensors", 2);
        check(&both, file("open_clip_pytorch_model.bin"), "open_clip_pytorch_model.bin", 2);
        check(&both[..1], Wanted::Usual, "open_clip_pytorch_model.bin", 1);
        check(&both[..1], tag(None), "open_clip_pytorch_model.bin", 1);
        let two = ["pytorch_model.bin", "pytorch_model.safetensors", "x.pth", "x.safetensors"];
        check(&two, tag(Some("pytorch_model.bin")), "pytorch_model.safetensors", 1);
        check(&two, tag(Some("x.pth")), "x.safetensors", 1);
        check(&two, file("pytorch_model.bin"), "pytorch_model.bin", 1);
        check(&["model.bin", "b.bin"], tag(Some("b.bin")), "b.bin", 1);
        check(&["a.pt", "config.json", "onnx/model.onnx"], Wanted::Usual, "a.pt", 2);
        let shards = [
            "model.safetensors.index.json",
            "model-1-of-2.safetensors",
            "model-2-of-2.safetensors",
            "other.json",
        ];
        check(&shards, Wanted::Usual, "model.safetensors.index.json", 4);
        check(&["a/m.bin", "a/config.json", "config.json"], file("a/m.bin"), "a/m.bin", 2);
        check(
            &["clipway.json", "open_clip_model.safetensors", "y/z"],
            tag(None),
            "open_clip_model.safetensors",
            2,
        );
        let none =
            |names: &[&str], wanted: Wanted| assert_eq!(Choice::of(&tree(names), &wanted), None, "{names:?}");
        none(&["a.pt", "b.pt"], Wanted::Usual);
        none(&["a.pt"], file("b.pt"));
        none(&["model.safetensors", "a.pt"], tag(None));
        assert_eq!(Choice::of(&tree(&["clipway.json", "x", "y/z"]), &Wanted::Usual).unwrap().files.len(), 3);
    }
}
