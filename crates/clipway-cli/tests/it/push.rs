//! Pushes of sources and folders to a fake hub, and what comes back.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::hub::fake::{Fake, sha256};
use crate::hub::{hub, run};
use crate::scene::Scene;

const SOURCE: [&str; 4] = ["push", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json"];

fn with<'a>(start: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [start, more].concat()
}

/// A pull, and a `verify` that passes.
fn pulled(fake: &Fake, scene: &Scene, repo: &str, out: &str) {
    run(fake, scene, &["pull", repo, "--out", out]).ended(0);
    run(fake, scene, &["verify", out]).ended(0);
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The files of a folder or of the head of a repository, by name.
fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

fn head(fake: &Fake, repo: &str) -> BTreeMap<String, Vec<u8>> {
    let state = fake.state();
    let commit = state.repositories[repo].commits.last().unwrap();
    commit.files.iter().map(|(name, bytes)| (name.clone(), bytes.to_vec())).collect()
}

fn commits(fake: &Fake, repo: &str) -> usize {
    fake.state().repositories.get(repo).map_or(0, |repository| repository.commits.len())
}

#[test]
fn a_source_is_exported_verified_and_comes_back_bit_for_bit() {
    let (fake, scene) = hub();
    let push = with(&SOURCE, &["--repo-id", "me/published"]);
    let plain = run(&fake, &scene, &push).ended(1);
    assert!(plain.stderr.contains("[no-license]"), "{plain:?}");
    assert_eq!(commits(&fake, "me/published"), 0);
    let push = with(&push, &["--license", "mit"]);
    let dry = run(&fake, &scene, &with(&push, &["--dry-run", "--json"])).ended(0).json();
    assert_eq!((dry["commit"].clone(), commits(&fake, "me/published")), (Value::Null, 0));
    let done = run(&fake, &scene, &push).ended(0);
    assert!(done.stdout.contains("commit ") && done.stderr.contains("verified: "), "{done:?}");
    // A dry run says exactly what is uploaded.
    let uploaded = head(&fake, "me/published");
    let listed = dry["files"].as_array().unwrap();
    assert_eq!(listed.len() + 1, uploaded.len(), "the Hub adds `.gitattributes`");
    for file in listed {
        let bytes = &uploaded[file["path"].as_str().unwrap()];
        assert_eq!(
            (file["size"].clone(), file["sha256"].clone()),
            (json!(bytes.len()), json!(sha256(bytes)))
        );
    }
    assert_eq!(dry["card"], json!(String::from_utf8(uploaded["README.md"].clone()).unwrap()));
    assert!(run(&fake, &scene, &push).ended(0).stdout.contains("nothing changed"));

    // What comes back is what a local export writes, but for the card and its entry.
    pulled(&fake, &scene, "me/published", "back");
    let export = ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json", "--license", "mit"];
    run(&fake, &scene, &with(&export, &["--out", "model"])).ended(0);
    let (back, local) = (files_of(&scene.path("back")), files_of(&scene.path("model")));
    for (name, bytes) in &local {
        assert_eq!(back[name] == *bytes, !["README.md", "clipway.json"].contains(&name.as_str()), "{name}");
    }
    run(&fake, &scene, &["verify", "hf-hub:me/published", "--against", "EMOJI/emoji-clip.pt"]).ended(0);
    let card = read(scene.path("back/README.md"));
    for part in [
        "---\nlicense: mit\nlibrary_name: open_clip\npipeline_tag: zero-shot-image-classification\ntags:\n- clip\n- clipway\n---\n",
        "# published\n",
        "create_model_from_pretrained('hf-hub:me/published')",
        "clipway verify hf-hub:me/published",
        "| image features | passed | 768 |",
        "- 134 written: unchanged",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert!(!card.contains("PATH/TO"), "{card}");
    // A folder for transformers names its own files as its tokenizer. open_clip goes by that name for `hf-hub:`.
    run(&fake, &scene, &["export", "model", "--to", "transformers", "--out", "transformers"]).ended(0);
    run(&fake, &scene, &["export", "transformers", "--out", "named"]).ended(0);
    let name = |folder: &str| {
        let config: Value =
            serde_json::from_str(&read(scene.path(folder).join("open_clip_config.json"))).unwrap();
        config["model_cfg"]["text_cfg"]["hf_tokenizer_name"].clone()
    };
    assert_eq!(name("named"), "tokenizer");
    run(&fake, &scene, &["push", "named", "--repo-id", "me/named"]).ended(0);
    pulled(&fake, &scene, "me/named", "named-back");
    assert_eq!(name("named-back"), "me/named");
    run(&fake, &scene, &["verify", "named-back", "--against", "transformers"]).ended(0);
    // The exported folder itself gives the same commit.
    let folder = run(&fake, &scene, &["push", "model", "--repo-id", "me/published"]).ended(0);
    assert!(folder.stdout.contains("nothing changed"), "{folder:?}");
}

#[test]
fn a_readme_of_the_repository_is_kept_and_verify_passes() {
    let (fake, scene) = hub();
    let theirs = "---\nlicense: apache-2.0\nodd: {a: 1}\n---\n# By hand\r\n\n\u{fc}ber *uns*\n";
    fake.commit("me/theirs", &[("README.md", theirs.as_bytes()), ("old.txt", b"old")]);
    let export = ["export", "EMOJI/emoji-clip.pt", "--model", "EMOJI/emoji-clip.json", "--license", "mit"];
    run(&fake, &scene, &with(&export, &["--out", "model"])).ended(0);
    let push = ["push", "model", "--repo-id", "me/theirs"];
    let done = run(&fake, &scene, &push).ended(0);
    for part in ["license `apache-2.0`, but the model's is `mit`", "keeps `old.txt`"] {
        assert!(done.stderr.contains(part), "{part}: {done:?}");
    }
    run(&fake, &scene, &["pull", "me/theirs", "--out", "back"]).ended(0);
    assert_eq!(read(scene.path("back/README.md")), theirs);
    let differs = run(&fake, &scene, &["verify", "back"]).ended(1);
    assert_eq!(differs.stdout.lines().skip(1).collect::<Vec<_>>(), ["`old.txt` is not listed"]);
    std::fs::remove_file(scene.path("back/old.txt")).unwrap();
    run(&fake, &scene, &["verify", "back"]).ended(0);
    run(&fake, &scene, &["verify", "back", "--against", "model"]).ended(0);
    let (back, model) = (files_of(&scene.path("back")), files_of(&scene.path("model")));
    assert!(back["open_clip_model.safetensors"] == model["open_clip_model.safetensors"]);
    assert!(run(&fake, &scene, &push).ended(0).stdout.contains("nothing changed"));

    // An update keeps the text, and adds ours once.
    let update = with(&push, &["--update-card"]);
    run(&fake, &scene, &update).ended(0);
    assert!(run(&fake, &scene, &update).ended(0).stdout.contains("nothing changed"));
    let card = String::from_utf8(head(&fake, "me/theirs")["README.md"].clone()).unwrap();
    assert!(card.starts_with("---\nlicense: mit\nodd: {a: 1}\nlibrary_name: open_clip\n"), "{card}");
    assert!(card.contains("# By hand\r\n\n\u{fc}ber *uns*\n\n<!-- clipway: begin"), "{card}");
    assert_eq!(card.matches("## Verification").count(), 1);
    run(&fake, &scene, &["verify", "hf-hub:me/theirs"]).ended(1);
}

#[test]
fn a_card_of_ones_own_is_uploaded_with_what_it_lacks() {
    let (fake, scene) = hub();
    scene.write("own.md", "---\nlanguage: en\n---\n# Mine\n");
    scene.write("bad.md", "---\n{license: mit}\n---\n# Mine\n");
    let push = with(&SOURCE, &["--license", "cc-by-nc-4.0", "--repo-id", "me/own", "--card"]);
    let bad = run(&fake, &scene, &with(&push, &["bad.md"])).ended(1);
    assert!(bad.stderr.contains("[hub-card]") && commits(&fake, "me/own") == 0, "{bad:?}");
    let done = run(&fake, &scene, &with(&push, &["own.md"])).ended(0);
    let warning = "warning: the license `cc-by-nc-4.0` does not permit commercial use";
    assert!(done.stderr.contains(warning), "{done:?}");
    let card = String::from_utf8(head(&fake, "me/own")["README.md"].clone()).unwrap();
    assert_eq!(
        card,
        "---\nlanguage: en\nlicense: cc-by-nc-4.0\nlibrary_name: open_clip\npipeline_tag: zero-shot-image-classification\n\
         tags:\n- clip\n- clipway\n---\n# Mine\n"
    );
    pulled(&fake, &scene, "me/own", "back");
}

#[test]
fn the_license_of_a_source_is_known_from_its_repository() {
    let (fake, scene) = hub();
    let mut files = head(&fake, "me/emoji");
    files.remove("clipway.json");
    files.insert("README.md".to_owned(), b"---\nlicense: cc-by-nc-4.0\n---\n# x\n".to_vec());
    let mit = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../LICENSE-MIT"));
    files.insert("LICENSE".to_owned(), mit.clone().into_bytes());
    let list: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    fake.commit("geolocal/StreetCLIP", &list);
    let contradiction =
        "the license is `cc-by-nc-4.0` (`README.md`, `license`), but another is stated: `mit` (`LICENSE`)";

    let inspected = run(&fake, &scene, &["inspect", "hf-hub:geolocal/StreetCLIP", "--json"]).ended(0).json();
    assert_eq!(
        inspected["license"],
        json!({
            "license": "cc-by-nc-4.0", "from": "`README.md`, `license`", "restriction": "does not permit commercial use",
            "contradictions": [contradiction],
        })
    );
    let text = run(&fake, &scene, &["inspect", "hf-hub:geolocal/StreetCLIP"]).ended(0).stdout;
    let line = "license       cc-by-nc-4.0 (`README.md`, `license`): it does not permit commercial use";
    assert!(text.contains(line) && text.contains(contradiction), "{text}");

    let push =
        ["push", "hf-hub:geolocal/StreetCLIP", "--repo-id", "me/again", "--precision", "fp16", "--json"];
    let done = run(&fake, &scene, &push).ended(0);
    assert_eq!(
        done.stderr.matches("warning: the license `cc-by-nc-4.0` does not permit").count(),
        1,
        "{done:?}"
    );
    assert_eq!(done.json()["restriction"], "does not permit commercial use");
    pulled(&fake, &scene, "me/again", "back");
    let artifact: Value = serde_json::from_str(&read(scene.path("back/clipway.json"))).unwrap();
    assert_eq!(
        artifact["contract"]["license"],
        json!({"value": "cc-by-nc-4.0", "from": {"kind": "source_file", "file": "README.md", "key": "license"}})
    );
    assert_eq!(artifact["source"]["hub"]["repository"], "geolocal/StreetCLIP");
    assert!(artifact["notes"].as_array().unwrap().contains(&json!(contradiction)), "{}", artifact["notes"]);
    assert_eq!(read(scene.path("back/LICENSE")), mit);
    let card = read(scene.path("back/README.md"));
    assert!(
        card.contains("license: cc-by-nc-4.0\n") && card.contains("base_model: geolocal/StreetCLIP\n"),
        "{card}"
    );

    // Without a card and a license file, the registry's table has it.
    files.retain(|name, _| name != "README.md" && name != "LICENSE");
    let list: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    fake.commit("patrickjohncyh/fashion-clip", &list);
    let inspect = ["inspect", "hf-hub:patrickjohncyh/fashion-clip", "--json"];
    let license = run(&fake, &scene, &inspect).ended(0).json()["license"].clone();
    assert_eq!(license["license"], "mit");
    assert_eq!(license["from"], "the registry's licenses, `patrickjohncyh/fashion-clip`");
}

#[test]
fn options_of_open_clip_have_their_meaning() {
    let (fake, scene) = hub();
    let push = [
        "push",
        "--model",
        "EMOJI/emoji-clip.json",
        "--pretrained",
        "EMOJI/emoji-clip.pt",
        "--license",
        "mit",
    ];
    let options = [
        "--repo-id",
        "me/options",
        "--precision",
        "pure_fp16",
        "--image-mean",
        "0.5",
        "0.5",
        "0.5",
        "--image-std",
        "0.25",
        "0.25",
        "0.25",
        "--image-interpolation",
        "bilinear",
        "--image-resize-mode",
        "squash",
        "--hf-tokenizer-self",
    ];
    run(&fake, &scene, &with(&push, &options)).ended(0);
    pulled(&fake, &scene, "me/options", "back");
    let config: Value = serde_json::from_str(&read(scene.path("back/open_clip_config.json"))).unwrap();
    assert_eq!(
        config["preprocess_cfg"],
        json!({"size": 48, "mode": "RGB", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
            "interpolation": "bilinear", "resize_mode": "squash", "fill_color": 0})
    );
    // CLIP's own tokenizer has no name to change.
    assert_eq!(config["model_cfg"]["text_cfg"]["hf_tokenizer_name"], Value::Null);
    let artifact: Value = serde_json::from_str(&read(scene.path("back/clipway.json"))).unwrap();
    assert_eq!(artifact["model"]["precision"], "fp16");
    // Weights that are named go out in fp32 unless another precision is asked for.
    run(&fake, &scene, &with(&push, &["--repo-id", "me/plain", "--private"])).ended(0);
    pulled(&fake, &scene, "me/plain", "plain");
    let artifact: Value = serde_json::from_str(&read(scene.path("plain/clipway.json"))).unwrap();
    assert_eq!(artifact["model"]["precision"], "fp32");
    assert!(fake.state().repositories["me/plain"].is_private);
}

#[test]
fn what_may_not_be_pushed_is_refused() {
    let (fake, scene) = hub();
    let check = |arguments: &[&str], code: &str| {
        let outcome = run(&fake, &scene, arguments);
        assert!(outcome.code != Some(0) && outcome.stderr.contains(&format!("[{code}]")), "{outcome:?}");
        assert_eq!(commits(&fake, "me/no"), 0, "{arguments:?}");
    };
    let repo = ["--repo-id", "me/no"];
    check(&with(&["push", "EXPORTED"], &repo), "no-license");
    check(&with(&["push", "--model", "ViT-B-32", "--pretrained", "none"], &repo), "unknown-tag");
    check(&with(&["push", "--model", "ViT-B-32", "--pretrained", "laion2b_s34b_b79k"], &repo), "hub-no-repo");
    check(
        &with(&["push", "EXPORTED", "--license", "mit", "--to", "open_clip,transformers"], &repo),
        "bad-option",
    );
    check(&with(&["push", "none", "--license", "mit"], &repo), "io");
    let unverified = ["export", "EXPORTED", "--license", "mit", "--no-verify", "--out", "unverified"];
    run(&fake, &scene, &unverified).ended(0);
    check(&with(&["push", "unverified"], &repo), "verification");
    check(&with(&["push", "EXPORTED", "--license", "mit", "--no-verify"], &repo), "verification");
    scene.copy_exported("changed");
    scene.write("changed/README.md", "changed");
    check(&with(&["push", "changed", "--license", "mit"], &repo), "checksum");
    let allowed = ["push", "unverified", "--repo-id", "me/unverified", "--allow-unverified"];
    run(&fake, &scene, &allowed).ended(0);
    assert_eq!(commits(&fake, "me/unverified"), 2);

    // A license given for a folder goes into its card and its contract.
    let licensed = [
        "push",
        "EXPORTED",
        "--repo-id",
        "me/licensed",
        "--license",
        "My Terms",
        "--license-link",
        "https://example.org/t",
    ];
    run(&fake, &scene, &licensed).ended(0);
    pulled(&fake, &scene, "me/licensed", "licensed");
    let card = read(scene.path("licensed/README.md"));
    for part in [
        "license: other\nlicense_name: my-terms\nlicense_link: \"https://example.org/t\"\n",
        "## License\n\nMy Terms, at https\\://example.org/t (set by the option `license`).\n<!-- clipway: end -->\n",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    let artifact: Value = serde_json::from_str(&read(scene.path("licensed/clipway.json"))).unwrap();
    assert_eq!(artifact["contract"]["license_terms"]["license_link"], "https://example.org/t");

    // Without a token a repository that does not exist cannot be created: that is said before the export.
    let mut command = scene.command(&with(&SOURCE, &["--license", "mit", "--repo-id", "me/no"]));
    command.env("HF_ENDPOINT", fake.endpoint()).env("HF_HOME", scene.path("empty"));
    command.env_remove("HF_TOKEN").env_remove("HUGGING_FACE_HUB_TOKEN");
    let outcome = crate::scene::Outcome::of(command.output().unwrap()).ended(2);
    assert!(outcome.stderr.contains("[hub-no-repo]") && !outcome.stderr.contains("verified"), "{outcome:?}");
}
