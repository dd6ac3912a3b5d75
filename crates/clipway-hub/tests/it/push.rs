//! Pushes, and what a lost answer or another writer does to them.

use std::sync::Arc;

use clipway_hub::{Hub, HubError, PushFile, PushOptions, PushPlan, PushState, Quiet, RepoName};

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
        let hub: Hub = Hub::new(self.scene.settings(), Arc::new(Quiet))?;
        let files = PushFile::folder(&self.scene.folder.path().join("folder"))?;
        hub.push(&name(), &files, options)
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
fn an_existing_card_and_a_pull_request() {
    let pushing = Pushing::new(0);
    pushing.push(&PushOptions::default()).unwrap();
    write(&pushing.scene, "README.md", b"---\nlicense: mit\n---\nnew\n");
    let kept = pushing.push(&PushOptions { keep_readme: true, ..PushOptions::default() }).unwrap();
    assert_eq!((kept.commit.clone(), states(&kept)[0]), (None, PushState::Kept));
    let options = PushOptions { pull_request: true, ..PushOptions::default() };
    let pull = pushing.push(&options).unwrap();
    assert!(pull.pull_request.is_some());
    assert_eq!(pushing.state().0, 2);
}

#[test]
fn every_fault_of_a_push_ends_in_one_right_commit_or_an_error_that_a_second_run_mends() {
    let faults = [
        Fault::Reset,
        Fault::Lost,
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(403),
        Fault::RateLimit(0),
        Fault::RetryAfter(0),
        Fault::Html,
        Fault::Cut(1),
    ];
    let mut cells = 0;
    for chunk in [0, 2000] {
        let asked = [
            "/validate-yaml",
            "/repos/create",
            "/preupload/",
            "/batch",
            "PUT ",
            "/commit/",
            "/complete/",
            "/verify",
        ];
        for on in asked.iter().filter(|on| chunk > 0 || **on != "/complete/") {
            for fault in &faults {
                for times in [1, 20] {
                    if (times, fault) == (20, &Fault::RateLimit(0)) {
                        continue;
                    }
                    let pushing = Pushing::new(chunk);
                    pushing.scene.fake.fail(on, 0, times, fault.clone());
                    let first = pushing.push(&PushOptions::default());
                    pushing.scene.fake.calm();
                    pushing
                        .push(&PushOptions::default())
                        .unwrap_or_else(|error| panic!("{on} {fault:?}: {error}"));
                    let (commits, is_whole) = pushing.state();
                    assert!(is_whole && commits == 2, "{on} {fault:?} {times}: {commits} commits, {first:?}");
                    cells += 1;
                }
            }
        }
    }
    println!("{cells} cells of pushes");
    assert!(cells > 200, "{cells}");
}
