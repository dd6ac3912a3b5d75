//! Pushes, and what a lost answer or another writer does to them.

use clipway_hub::{HubError, PushFile, PushOptions, PushPlan, PushState, RepoName};

use crate::fake::Fault;
use crate::scene::{Scene, bytes};

const NEW: &str = "me/new";

struct Pushing {
    scene: Scene,
    weights: Vec<u8>,
}

impl Pushing {
    fn new(chunk: usize) -> Pushing {
        let scene = Scene::new(&[]);
        scene.fake.state().chunk = chunk;
        let weights = bytes(30, 5000);
        write(&scene, "README.md", b"---\nlicense: mit\n---\n");
        write(&scene, "a/empty", b"");
        write(&scene, "w.bin", &weights);
        Pushing { scene, weights }
    }

    fn push(&self, options: &PushOptions) -> Result<PushPlan, HubError> {
        let hub = self.scene.hub();
        let files = PushFile::folder(&self.scene.folder.path().join("folder"))?;
        let head = hub.head(&name(), options)?;
        hub.push(&name(), head.as_ref(), &files, options)
    }

    /// Number of commits, and whether the last has the files.
    fn state(&self) -> (usize, bool) {
        let state = self.scene.fake.state();
        let Some(repository) = state.repositories.get(NEW) else { return (0, false) };
        let head = repository.commits.last().unwrap();
        let has = |path: &str, bytes: &[u8]| head.files.get(path).is_some_and(|found| ***found == *bytes);
        let is_whole =
            has("w.bin", &self.weights) && has("a/empty", b"") && head.files.contains_key("README.md");
        (repository.commits.len(), is_whole)
    }
}

fn name() -> RepoName {
    RepoName::parse(NEW).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a test's own file")]
fn write(scene: &Scene, path: &str, bytes: &[u8]) {
    let path = scene.folder.path().join("folder").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn states(plan: &PushPlan) -> Vec<PushState> {
    plan.files.iter().map(|(_, state)| *state).collect()
}

#[test]
fn a_push_makes_one_commit_and_a_second_none() {
    for chunk in [0, 1024] {
        let pushing = Pushing::new(chunk);
        let options = PushOptions { private: true, ..PushOptions::default() };
        let plan = pushing.push(&PushOptions { dry_run: true, ..options.clone() }).unwrap();
        assert_eq!((plan.parent, pushing.state()), (None, (0, false)));
        let plan = pushing.push(&options).unwrap();
        assert_eq!(states(&plan), [PushState::Inline, PushState::Inline, PushState::Large]);
        assert_eq!(pushing.state(), (2, true));
        assert!(pushing.scene.fake.state().repositories[NEW].is_private);
        let puts = pushing.scene.fake.count("PUT ");
        assert_eq!(puts, if chunk == 0 { 1 } else { 5 });
        let again = pushing.push(&options).unwrap();
        assert_eq!((again.commit.clone(), states(&again)), (None, vec![PushState::Unchanged; 3]));
        assert_eq!((pushing.state(), pushing.scene.fake.count("PUT ")), ((2, true), puts));
        let state = pushing.scene.fake.state();
        for seen in &state.seen {
            assert_eq!(seen.authorization.is_some(), !seen.is_cdn, "{seen:?}");
        }
    }
}

#[test]
fn a_lost_answer_makes_no_second_commit() {
    let pushing = Pushing::new(0);
    pushing.scene.fake.fail("/commit/", 0, 1, Fault::Lost);
    let plan = pushing.push(&PushOptions::default()).unwrap();
    assert!(plan.commit.is_some());
    assert_eq!(pushing.state(), (2, true));
}

#[test]
fn another_writer_is_reported_and_not_overwritten() {
    let pushing = Pushing::new(0);
    pushing.push(&PushOptions::default()).unwrap();
    write(&pushing.scene, "w.bin", &bytes(31, 6000));
    // Between the question and the commit, someone else writes.
    pushing.scene.fake.state().other = Some(NEW.to_owned());
    let error = pushing.push(&PushOptions::default()).unwrap_err();
    assert_eq!(error.code(), "hub-moved");
    assert_eq!(pushing.state().0, 3, "only the other writer's commit was added");
}

#[test]
fn a_pull_request_leaves_the_branch_alone() {
    let pushing = Pushing::new(0);
    pushing.push(&PushOptions::default()).unwrap();
    write(&pushing.scene, "README.md", b"---\nlicense: mit\n---\nnew\n");
    let options = PushOptions { pull_request: true, ..PushOptions::default() };
    let pull = pushing.push(&options).unwrap();
    assert!(pull.pull_request.is_some());
    assert_eq!(pushing.state().0, 2);
}

#[test]
fn offline_nothing_is_asked() {
    let pushing = Pushing::new(0);
    let error = pushing.scene.offline().head(&name(), &PushOptions::default()).unwrap_err();
    assert_eq!((error.code(), pushing.scene.fake.count("")), ("hub-offline", 0));
}

#[test]
fn small_files_are_read_and_checked() {
    let pushing = Pushing::new(0);
    pushing.push(&PushOptions::default()).unwrap();
    let hub = pushing.scene.hub();
    let head = hub.head(&name(), &PushOptions::default()).unwrap().unwrap();
    let small = |file: &str, limit| hub.small(&name(), &head, file, limit);
    assert_eq!(small("README.md", 100).unwrap().unwrap(), b"---\nlicense: mit\n---\n");
    assert_eq!(small("w.bin", 5000).unwrap().unwrap(), pushing.weights);
    assert_eq!((small("a/empty", 0).unwrap(), small("none", 0).unwrap()), (Some(Vec::new()), None));
    assert_eq!(small("w.bin", 4999).unwrap_err().code(), "hub-too-large");
    for file in ["/resolve/", "/object/"] {
        pushing.scene.fake.fail(file, 0, 1, Fault::Flip(3));
    }
    assert_eq!(small("README.md", 100).unwrap_err().code(), "hub-mismatch");
    assert_eq!(small("w.bin", 5000).unwrap_err().code(), "hub-mismatch");
}

#[test]
fn a_card_that_appears_while_the_repository_is_created_is_not_replaced() {
    let pushing = Pushing::new(0);
    let hub = pushing.scene.hub();
    let files = vec![PushFile::of("README.md", *b"ours").unwrap()];
    pushing.scene.fake.commit(NEW, &[("README.md", b"theirs")]);
    let error = hub.push(&name(), None, &files, &PushOptions::default()).unwrap_err();
    assert_eq!((error.code(), pushing.scene.fake.state().repositories[NEW].commits.len()), ("hub-moved", 1));
}
