//! Model cards and licenses of exports.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use clipway_model::artifact::{Artifact, Report, Stage, Tolerance};
use clipway_model::checkpoint::Checkpoint;
use clipway_model::contract::{Known, Origin};
use clipway_model::export::{Export, WriteOptions, card};
use clipway_model::front_matter::{FrontMatter, Value, split};
use clipway_model::source::Source;

use crate::bench::{Bench, write_options};

const MIT: &str = include_str!("../../../../LICENSE-MIT");
const APACHE: &str = include_str!("../../../../LICENSE-APACHE");

/// Exports a source of this name, and returns its artifact and card.
fn exported(bench: &Bench, name: &str, options: &WriteOptions<'_>) -> (Artifact, String) {
    let checkpoint = Checkpoint::open(bench.write_source(name)).unwrap();
    let source = Source::of(checkpoint, &bench.options()).unwrap();
    Export::prepare(&source, Default::default()).unwrap().write(&bench.target(), options).unwrap();
    assert!(Artifact::check_hashes(&bench.target()).unwrap().is_right());
    let card = fs::read_to_string(bench.target().join("README.md")).unwrap();
    (Artifact::read(&bench.target()).unwrap(), card)
}

fn front(card: &str) -> FrontMatter {
    let front = split(card).unwrap().0.unwrap();
    assert_eq!(card::problems(&front), [""; 0], "{card}");
    front
}

fn license(bench: &Bench, given: Option<&str>) -> (Option<Known<String>>, Vec<String>, String) {
    let cancel = AtomicBool::new(false);
    let options = WriteOptions { license: given.map(str::to_owned), force: true, ..write_options(&cancel) };
    let (artifact, card) = exported(bench, "tiny.safetensors", &options);
    let notes = artifact.notes.iter().filter(|note| note.contains("license") || note.contains("LICENSE"));
    (artifact.contract.license.clone(), notes.cloned().collect(), card)
}

#[test]
fn a_card_says_what_was_made_and_measured() {
    let bench = Bench::new();
    let cancel = AtomicBool::new(false);
    let stage = Stage {
        name: "image features".to_owned(),
        passed: true,
        reason: None,
        tolerance: Tolerance::f32(),
        compared: 48,
        worst: 1.25e-7,
        worst_relative: 2.5e-7,
        worst_at: [0, 0],
        worst_values: [0.0, 0.0],
        cosine: Some(0.999_999_9),
        losses: Vec::new(),
    };
    let report = Report {
        passed: true,
        subject: "the folder".to_owned(),
        reference: "`tiny.safetensors`".to_owned(),
        images: 6,
        texts: 8,
        inputs: "built-in probes".to_owned(),
        stages: vec![stage],
        image_sensitivity: None,
        text_sensitivity: None,
        same_best_text: Some([6, 6]),
        same_best_image: None,
        failures: Vec::new(),
        notes: Vec::new(),
    };
    let verify = |_: &Path| Ok(report.clone());
    let options = WriteOptions { verify: Some(&verify), ..write_options(&cancel) };
    let (artifact, card) = exported(&bench, "tiny.safetensors", &options);
    let front = front(&card);
    let tags = Value::List(vec!["clip".to_owned(), "clipway".to_owned()]);
    assert_eq!((front.text("license"), front.get("tags")), (Some("mit"), Some(&tags)));
    assert_eq!(front.text("pipeline_tag"), Some("zero-shot-image-classification"));
    let hash = &artifact.source.files["tiny.safetensors"];
    let [tensors, bytes] = [artifact.ledger.source_tensors as u64, hash.bytes];
    for part in [
        "# CLIP model\n\nA CLIP model of 0.0 million parameters.".to_owned(),
        "| Image size | 8 x 8 |".to_owned(),
        "| Activation | QuickGELU |".to_owned(),
        "| Precision | F32 |".to_owned(),
        "| Image tower | vision transformer, 2 layers of width 16, patches of 4 x 4 pixels |".to_owned(),
        "| Text tower | transformer, 1 layer of width 8 |".to_owned(),
        "create_model_from_pretrained('local-dir:PATH/TO/THIS/FOLDER')".to_owned(),
        "clipway classify PATH/TO/THIS/FOLDER image.jpg --labels \"a cat,a dog\"".to_owned(),
        "from tiny.safetensors (safetensors, open\\_clip).".to_owned(),
        format!("| tiny.safetensors | {bytes} | `{}` |", hash.sha256),
        format!("- {tensors} written: unchanged\n"),
        "verified: the folder against `tiny.safetensors`, 6 images and 8 texts, smallest cosine 0.9999999."
            .to_owned(),
        "| image features | passed | 48 | 1.25e-7 | 2.50e-7 | 0.9999999 | f32 (2e-5) |".to_owned(),
        "6 of 6 images have the same best text as in the source.".to_owned(),
        "## License\n\nmit (set by the option `license`).\n".to_owned(),
    ] {
        assert!(card.contains(&part), "{part}\n{card}");
    }
    let unverified = exported(&Bench::new(), "tiny.safetensors", &write_options(&cancel)).1;
    assert!(unverified.contains("Not verified: this folder was written without running it."), "{unverified}");
}

#[cfg(unix)]
#[test]
fn nothing_that_strangers_wrote_becomes_markup() {
    let bench = Bench::new();
    let cancel = AtomicBool::new(false);
    let name = "a|b <img src=x onerror=alert(1)>\n# Verified\n---\n`x`[y](http:z).safetensors";
    let license = Some("mit\nlibrary_name: evil\n---\n# <script>".to_owned());
    let options = WriteOptions { license, ..write_options(&cancel) };
    let (artifact, card) = exported(&bench, name, &options);
    assert!(artifact.source.files.contains_key(name));
    let (front, body) = split(&card).unwrap();
    let front = front.unwrap();
    assert_eq!((front.text("license"), front.text("library_name")), (Some("other"), Some("open_clip")));
    assert_eq!(front.text("license_name"), Some("mit-library_name-evil-script"));
    for markup in ["<img", "<script", "\n# Verified", "[y](", "\n---\n"] {
        assert!(!body.contains(markup), "{markup}: {body}");
    }
}

#[test]
fn a_license_is_found_where_it_is_stated() {
    let bench = Bench::new();
    assert_eq!(license(&bench, None).0, None);
    // A text that is nobody's is copied, and not guessed.
    fs::write(bench.path("LICENSE"), "Ask us.").unwrap();
    let (found, notes, _) = license(&bench, None);
    assert_eq!(
        (found, notes),
        (None, vec!["`LICENSE` is a license that clipway does not recognize".to_owned()])
    );
    assert_eq!(fs::read_to_string(bench.target().join("LICENSE")).unwrap(), "Ask us.");
    let (found, notes, card) = license(&bench, Some("Our Terms"));
    assert_eq!((found.unwrap().value, notes), ("Our Terms".to_owned(), Vec::new()));
    let front_matter = front(&card);
    assert_eq!(
        ["license", "license_name", "license_link"].map(|key| front_matter.text(key)),
        [Some("other"), Some("our-terms"), Some("LICENSE")]
    );
    fs::write(bench.path("LICENSE"), APACHE).unwrap();
    let (found, notes, _) = license(&bench, None);
    assert_eq!(
        (found, notes),
        (Some(Known::new("apache-2.0".to_owned(), Origin::file("LICENSE"))), Vec::new())
    );
    // The card goes before the file, and the user before both.
    fs::write(bench.path("README.md"), "---\nlicense: CC-BY-NC-4.0\n---\n").unwrap();
    let (found, notes, card) = license(&bench, None);
    assert_eq!(found, Some(Known::new("cc-by-nc-4.0".to_owned(), Origin::key("README.md", "license"))));
    let note = "the license is `cc-by-nc-4.0` (`README.md`, `license`), but another is stated: `apache-2.0` (`LICENSE`)";
    assert_eq!(notes, [note]);
    assert!(card.contains("**The license, cc-by-nc-4.0, does not permit commercial use.**"), "{card}");
    let (found, notes, _) = license(&bench, Some("MIT"));
    assert_eq!((found, notes.len()), (Some(Known::new("mit".to_owned(), Origin::option("license"))), 2));
    // An export of the export has it from there.
    fs::write(bench.path("README.md"), "# x\n").unwrap();
    fs::write(bench.path("LICENSE"), MIT).unwrap();
    let expected = license(&bench, None).0.unwrap();
    let again = Source::resolve(bench.target(), &Default::default()).unwrap();
    let found = again.contract().license.clone().unwrap();
    assert_eq!((found.value, found.from), (expected.value, expected.from.in_artifact()));
    assert!(again.licenses().notes().is_empty(), "{:?}", again.licenses().notes());
}

#[test]
fn weights_in_the_cache_of_the_hub_have_a_place() {
    let bench = Bench::new();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let folder = format!("models--timm--vit_base_patch16_clip_224.metaclip_2pt5b/snapshots/{commit}");
    fs::create_dir_all(bench.path(&folder)).unwrap();
    let cancel = AtomicBool::new(false);
    let options = WriteOptions { license: None, ..write_options(&cancel) };
    let (artifact, card) = exported(&bench, &format!("{folder}/open_clip_model.safetensors"), &options);
    let hub = artifact.source.hub.unwrap();
    let repository = "timm/vit_base_patch16_clip_224.metaclip_2pt5b";
    assert_eq!((hub.repository.as_str(), hub.commit.as_str()), (repository, commit));
    let license = artifact.contract.license.unwrap();
    let table = Origin::LicenseTable { what: repository.to_owned() };
    assert_eq!((license.value.as_str(), license.from), ("cc-by-nc-4.0", table));
    assert_eq!(front(&card).text("base_model"), Some(repository));
    let link = format!(
        "from [timm/vit\\_base\\_patch16\\_clip\\_224.metaclip\\_2pt5b](https://huggingface.co/{repository}) at commit `{commit}`"
    );
    assert!(card.contains(&link), "{card}");
    assert!(card.contains("# vit\\_base\\_patch16\\_clip\\_224.metaclip\\_2pt5b\n"), "{card}");
}
