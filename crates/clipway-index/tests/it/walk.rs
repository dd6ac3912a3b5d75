//! What a walk takes.

use std::fs;
use std::path::{Path, PathBuf};

use clipway_index::{WalkOptions, Walked, walk};
use glob::Pattern;

use crate::made::tar;

fn made(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap();
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"x").unwrap();
    }
    (place, root)
}

#[track_caller]
fn check(walked: &Walked, root: &Path, expected: &[&str]) {
    let found: Vec<PathBuf> = walked.images.iter().map(|found| found.path.clone()).collect();
    let expected: Vec<PathBuf> = expected.iter().map(|name| root.join(name)).collect();
    assert_eq!(found, expected);
}

#[test]
fn images_are_found_by_their_names_in_order() {
    let (_place, root) =
        made(&["b/2.jpg", "a.PNG", "b/1.webp", ".hidden/x.jpg", "c/.x.jpg", "c/y.txt", "c/z.jxl"]);
    let roots = [root.clone()];
    let walked = walk(&roots, &WalkOptions::default());
    check(&walked, &root, &["a.PNG", "b/1.webp", "b/2.jpg"]);
    assert_eq!(walked.unsupported, [("jxl".to_owned(), 1)].into());
    let hidden = walk(&roots, &WalkOptions { hidden: true, ..WalkOptions::default() });
    check(&hidden, &root, &[".hidden/x.jpg", "a.PNG", "b/1.webp", "b/2.jpg", "c/.x.jpg"]);
    // A folder that is named twice, or lies in another one, is walked once.
    let twice = walk(&[root.join("b"), root.clone(), root.clone()], &WalkOptions::default());
    check(&twice, &root, &["a.PNG", "b/1.webp", "b/2.jpg"]);
    assert_eq!(twice.roots, std::slice::from_ref(&root));
    // A file that is named is taken whatever its name.
    let one = walk(&[root.join("c/y.txt")], &WalkOptions::default());
    check(&one, &root, &["c/y.txt"]);
}

#[test]
fn patterns_leave_names_and_paths_out() {
    let (_place, root) = made(&["a/cache/1.jpg", "a/2.gif", "cache/3.jpg", "b/a/4.jpg", "5.jpg"]);
    let without = |patterns: &[&str]| {
        let exclude = patterns.iter().map(|pattern| Pattern::new(pattern).unwrap()).collect();
        walk(std::slice::from_ref(&root), &WalkOptions { exclude, ..WalkOptions::default() })
    };
    check(&without(&["cache"]), &root, &["5.jpg", "a/2.gif", "b/a/4.jpg"]);
    check(&without(&["*.gif", "a/cache"]), &root, &["5.jpg", "b/a/4.jpg", "cache/3.jpg"]);
    check(&without(&["*/*.jpg"]), &root, &["5.jpg", "a/2.gif", "a/cache/1.jpg", "b/a/4.jpg"]);
    check(&without(&["**/4.jpg", "a/**"]), &root, &["5.jpg", "cache/3.jpg"]);
}

#[test]
fn members_of_archives_are_left_out_like_files() {
    let (_place, root) = made(&[]);
    let names = ["./a/cache/1.jpg", "a/2.gif", ".thumbs/3.jpg", "b/._4.jpg", "b/.5.jxl", "6.jpg"];
    fs::write(root.join("x.tar"), tar(&names.map(|name| (name, &b"x"[..])))).unwrap();
    let with = |roots: &[PathBuf], patterns: &[&str], hidden| {
        let exclude = patterns.iter().map(|pattern| Pattern::new(pattern).unwrap()).collect();
        walk(roots, &WalkOptions { exclude, hidden, ..WalkOptions::default() })
    };
    let (folder, archive) = (std::slice::from_ref(&root), [root.join("x.tar")]);
    let seen = with(folder, &[], false);
    check(&seen, &root, &["x.tar/a/cache/1.jpg", "x.tar/a/2.gif", "x.tar/6.jpg"]);
    assert_eq!(seen.unsupported, [].into());
    let hidden = with(folder, &["a"], true);
    check(&hidden, &root, &["x.tar/.thumbs/3.jpg", "x.tar/b/._4.jpg", "x.tar/6.jpg"]);
    assert_eq!(hidden.unsupported, [("jxl".to_owned(), 1)].into());
    check(&with(folder, &["cache", "*.gif"], false), &root, &["x.tar/6.jpg"]);
    check(&with(folder, &["x.tar/a"], false), &root, &["x.tar/6.jpg"]);
    // Paths in an archive that is named itself start in it.
    check(&with(&archive, &["a/cache"], false), &root, &["x.tar/a/2.gif", "x.tar/6.jpg"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_on_request_and_never_in_a_circle() {
    use std::os::unix::fs::symlink;

    let (_other, other) = made(&["x.jpg"]);
    let (_place, root) = made(&["a/1.jpg"]);
    symlink(&other, root.join("linked")).unwrap();
    symlink(&root, root.join("a/back")).unwrap();
    symlink(root.join("a"), root.join("a/self")).unwrap();
    symlink(root.join("nothing"), root.join("dangling.jpg")).unwrap();
    symlink(root.join("a/1.jpg"), root.join("file.jpg")).unwrap();
    let roots = [root.clone()];
    check(&walk(&roots, &WalkOptions::default()), &root, &["a/1.jpg", "file.jpg"]);
    let followed = walk(&roots, &WalkOptions { follow: true, ..WalkOptions::default() });
    check(&followed, &root, &["a/1.jpg", "file.jpg", "linked/x.jpg"]);
    assert_eq!(followed.troubles, []);
}

#[test]
fn what_cannot_be_walked_is_named() {
    let (_place, root) = made(&["a/1.jpg", "b.tar"]);
    fs::create_dir(root.join("empty")).unwrap();
    let roots = [root.join("missing"), root.join("a"), root.join("empty"), root.join("b.tar")];
    let walked = walk(&roots, &WalkOptions::default());
    check(&walked, &root, &["a/1.jpg"]);
    assert_eq!(walked.roots, [root.join("a"), root.join("empty")]);
    assert_eq!(walked.empty, [root.join("empty")]);
    let named: Vec<&Path> = walked.troubles.iter().map(|trouble| trouble.path.as_path()).collect();
    assert_eq!(named, [root.join("missing"), root.join("b.tar")]);
}
