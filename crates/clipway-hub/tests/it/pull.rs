//! Pulls that go well, the cache, and what is refused.

use std::fs;
use std::sync::{Arc, Mutex};

use clipway_formats::ReadAt;
use clipway_hub::{Distant, Hub, HubError, RepoName, Watcher};

use crate::fake::Fault;
use crate::scene::{REPO, Scene, bytes, pull_with, repo};

#[test]
fn a_signature_that_stays_refused_names_its_server() {
    let scene = Scene::new(&[("w.bin", &bytes(3, 3000))]);
    scene.fake.fail("/object/", 0, usize::MAX, Fault::Status(403));
    let error = scene.pull().unwrap_err();
    let server = scene.fake.state().cdn.trim_start_matches("http://").to_owned();
    assert_eq!(error.to_string(), format!("{server} refused with status 403"));
    assert_eq!(error.code(), "hub-refused");
}

#[test]
fn a_pull_fills_the_cache_of_the_reference_client() {
    let weights = bytes(1, 5000);
    let scene = Scene::new(&[("config.json", b"{}"), ("a/b c.bin", &weights), ("empty", b"")]);
    let pulled = scene.pull().unwrap();
    assert!(pulled.files.iter().all(|file| file.was_fetched));
    assert_eq!(read(pulled.folder.join("a/b c.bin")).unwrap(), weights);
    assert_eq!(read(pulled.folder.join("config.json")).unwrap(), b"{}");
    let link = fs::read_link(pulled.folder.join("a/b c.bin")).unwrap();
    assert_eq!(link.to_str().unwrap(), format!("../../../blobs/{}", crate::fake::sha256(&weights)));
    let main = text(scene.repository().join("refs/main")).unwrap();
    assert_eq!(main, pulled.commit);
    let tree = text(scene.repository().join(format!("trees/{main}.json"))).unwrap();
    assert!(tree.contains("\"format_version\":1") && tree.contains("lfs_sha256"), "{tree}");
    scene.check_cache();
    // A small file costs one request, a large one two, an empty one none, and the listing two.
    assert_eq!(scene.fake.count(""), 2 + 1 + 2);
    scene.fake.calm();
    let again = scene.pull().unwrap();
    assert!(again.files.iter().all(|file| !file.was_fetched));
    assert_eq!(scene.fake.count(""), 1, "one request asks what `main` is");
    scene.fake.calm();
    assert_eq!(pull_with(&scene.offline()).unwrap().commit, main);
    assert_eq!(scene.fake.count(""), 0);
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let scene = Scene::new(&[("w.bin", &bytes(2, 5000))]);
    scene.fake.state().repositories.get_mut(REPO).unwrap().is_private = true;
    scene.pull().unwrap();
    let state = scene.fake.state();
    assert!(state.seen.iter().any(|seen| seen.is_cdn));
    for seen in &state.seen {
        assert_eq!(seen.authorization.is_some(), !seen.is_cdn, "{seen:?}");
    }
}

#[test]
fn an_interrupted_pull_goes_on_where_it_stopped() {
    let weights = bytes(3, 3_000_000);
    let scene = Scene::new(&[("w.bin", &weights)]);
    scene.fake.fail("/object/", 0, 1, Fault::Cut(2_000_000));
    scene.fake.fail("/object/", 0, 100, Fault::Status(403));
    assert!(scene.pull().is_err());
    scene.fake.calm();
    scene.pull().unwrap();
    let state = scene.fake.state();
    let sent: usize =
        state.seen.iter().filter(|seen| seen.line.contains("/object/")).map(|seen| seen.sent).sum();
    assert_eq!(sent, 1_000_000);
    drop(state);
    scene.check_cache();
}

#[test]
fn two_at_once_make_one_transfer() {
    let weights = bytes(4, 8_000_000);
    let scene = Scene::new(&[("w.bin", &weights)]);
    std::thread::scope(|scope| {
        let both = [scope.spawn(|| scene.pull()), scope.spawn(|| scene.pull())];
        for one in both {
            assert_eq!(read(one.join().unwrap().unwrap().folder.join("w.bin")).unwrap(), weights);
        }
    });
    assert_eq!(scene.fake.count("/object/"), 1);
}

#[test]
fn a_blob_that_another_client_left_wrong_is_replaced_and_a_store_is_not_written_through() {
    let weights = bytes(5, 4000);
    let scene = Scene::new(&[("w.bin", &weights)]);
    let store = scene.folder.path().join("cache/blobs/ab/abcd");
    fs::create_dir_all(store.parent().unwrap()).unwrap();
    let wrong = vec![7; 4000];
    write(&store, &wrong);
    let blob = scene.repository().join("blobs").join(crate::fake::sha256(&weights));
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&store, &blob).unwrap();
    let pulled = scene.pull().unwrap();
    assert_eq!(read(pulled.folder.join("w.bin")).unwrap(), weights);
    assert_eq!(read(&store).unwrap(), wrong, "the store was written through");
    // A right one is used as it is.
    fs::remove_file(&blob).unwrap();
    write(&store, &weights);
    std::os::unix::fs::symlink(&store, &blob).unwrap();
    scene.fake.calm();
    assert!(!scene.pull().unwrap().files[0].was_fetched);
    assert!(fs::symlink_metadata(&blob).unwrap().is_symlink());
}

#[test]
fn what_is_missing_offline_is_named() {
    let scene = Scene::new(&[("a.json", b"{}"), ("w.bin", &bytes(6, 4000))]);
    let code = |result: Result<clipway_hub::Pulled, HubError>| result.unwrap_err().code();
    assert_eq!(code(pull_with(&scene.offline())), "hub-offline");
    scene.pull().unwrap();
    fs::remove_file(scene.repository().join("blobs").join(crate::fake::sha256(&bytes(6, 4000)))).unwrap();
    match pull_with(&scene.offline()) {
        Err(HubError::Partial { missing, .. }) => assert_eq!(missing, ["`w.bin`"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_refusal_has_its_code() {
    let scene = Scene::new(&[("a.json", b"{}")]);
    let check = |code: &str| {
        let found = scene.pull().unwrap_err();
        assert_eq!(found.code(), code, "{found}");
        assert!(!format!("{found} {found:?}").contains(crate::fake::TOKEN));
    };
    let set = |change: &dyn Fn(&mut crate::fake::Repository)| {
        change(scene.fake.state().repositories.get_mut(REPO).unwrap());
    };
    set(&|repository| repository.is_gated = true);
    check("hub-gated");
    set(&|repository| (repository.is_gated, repository.is_disabled) = (false, true));
    check("hub-disabled");
    set(&|repository| repository.is_disabled = false);
    let hub = scene.hub();
    let other = RepoName::parse("me/none").unwrap();
    assert_eq!(hub.tree(&other, "main").unwrap_err().code(), "hub-no-repo");
    assert_eq!(hub.tree(&repo(), "none").unwrap_err().code(), "hub-no-revision");
    let tree = hub.tree(&repo(), "main").unwrap();
    assert_eq!(hub.pull(&repo(), &tree, &["none.bin"]).unwrap_err().code(), "hub-no-file");
    assert!(scene.repository().join(".no_exist").join(&tree.commit).join("none.bin").exists());
    let token = clipway_hub::Token::new("hf_other").unwrap();
    let settings = clipway_hub::Settings { token, ..scene.settings() };
    let stranger = clipway_hub::Hub::new(settings, std::sync::Arc::new(clipway_hub::Quiet)).unwrap();
    assert_eq!(stranger.tree(&repo(), "main").unwrap_err().code(), "hub-bad-token");
    let settings = clipway_hub::Settings { endpoint: "http://127.0.0.1:1".to_owned(), ..scene.settings() };
    let dead = clipway_hub::Hub::new(settings, std::sync::Arc::new(clipway_hub::Quiet)).unwrap();
    assert_eq!(dead.tree(&repo(), "main").unwrap_err().code(), "hub-unreachable");
}

/// Keeps what fails.
#[derive(Default)]
struct Failures(Mutex<Vec<HubError>>);

impl Watcher for Failures {
    fn fail(&self, error: HubError) {
        self.0.lock().unwrap().push(error);
    }
}

#[test]
fn ranges_are_read_without_a_download() {
    let weights = bytes(7, 300_000);
    let scene = Scene::new(&[("w.bin", &weights)]);
    let seen = Arc::new(Failures::default());
    let hub = Arc::new(Hub::new(scene.settings(), Arc::clone(&seen) as _).unwrap());
    let tree = hub.tree(&repo(), "main").unwrap();
    let file = Distant::open(&hub, &repo(), &tree, "w.bin").unwrap();
    let read = |from: usize, count: usize| {
        let mut buffer = vec![0; count];
        file.read_exact_at(from as u64, &mut buffer).map(|()| assert!(buffer == weights[from..from + count]))
    };
    read(10, 100).unwrap();
    assert_eq!(file.fetched(), 4 << 10);
    // What was fetched is not fetched again, and a longer read fetches only what is missing, at once.
    let before = scene.fake.count("/object/");
    read(0, 4 << 10).unwrap();
    assert_eq!(scene.fake.count("/object/"), before);
    read(4_000, 100_000).unwrap();
    assert_eq!((file.fetched(), scene.fake.count("/object/")), (26 * (4 << 10), before + 1));
    read(weights.len() - 5, 5).unwrap();
    assert!(read(0, weights.len()).is_ok() && file.fetched() == weights.len() as u64);
    assert!(file.read_exact_at(weights.len() as u64 - 1, &mut [0; 2]).is_err());
    // One signed address serves all of it, until it expires.
    assert_eq!(scene.fake.count("/resolve/"), 1);
    for fault in [Fault::Whole, Fault::Range, Fault::Cut(3)] {
        let file = Distant::open(&hub, &repo(), &tree, "w.bin").unwrap();
        scene.fake.fail("/object/", 0, 1, fault.clone());
        assert!(file.read_exact_at(0, &mut [0; 9]).is_err(), "{fault:?}");
        let code = if fault == Fault::Cut(3) { "hub-unreachable" } else { "hub-answer" };
        assert_eq!(seen.0.lock().unwrap().pop().unwrap().code(), code, "{fault:?}");
        file.read_exact_at(0, &mut [0; 9]).unwrap();
    }
    assert_eq!(Distant::open(&hub, &repo(), &tree, "none").err().unwrap().code(), "hub-no-file");
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
fn write(path: &std::path::Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
pub fn read(path: impl AsRef<std::path::Path>) -> std::io::Result<Vec<u8>> {
    fs::read(path)
}

fn text(path: impl AsRef<std::path::Path>) -> Result<String, std::string::FromUtf8Error> {
    String::from_utf8(read(path).unwrap())
}
