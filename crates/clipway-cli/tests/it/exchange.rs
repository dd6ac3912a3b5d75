//! Features that leave an index and come back, and results as files.

use std::path::Path;
use std::process::Command;

use clipway_formats::{ParquetRow, write_parquet};
use clipway_search::Index;
use serde_json::Value;

use crate::scene::Scene;

/// Every file's path with its feature.
fn rows(index: &Path) -> Vec<(String, Vec<f32>)> {
    let index = Index::open(index).expect("an index");
    let mut rows = Vec::new();
    let visit = |path: std::path::PathBuf, item: clipway_search::Item| {
        rows.push((path.to_string_lossy().into_owned(), index.feature(item.row.expect("a row"))?));
        Ok(())
    };
    index.visit_items(visit).expect("items");
    rows
}

fn check_same(scene: &Scene, other: &str) {
    let (ours, theirs) = (rows(&scene.path("all.index")), rows(&scene.path(other)));
    assert_eq!((ours.len(), theirs.len()), (12, 12));
    for ((path, ours), (other, theirs)) in ours.iter().zip(&theirs) {
        assert_eq!(path, other);
        // Scaled to length 1 and rounded to f16 twice.
        let far = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far <= 0.001, "{path}: {far}");
    }
}

/// Exports the index in the layout, and writes the paths beside it.
fn exported_layout() -> Scene {
    let scene = Scene::indexed();
    let export = ["index", "export", "all.index", "--out", "layout", "--layout", "clip-retrieval"];
    scene.run(&export).ended(0);
    let paths: String = rows(&scene.path("all.index")).iter().map(|(path, _)| format!("{path}\n")).collect();
    scene.write("paths.txt", paths);
    scene
}

fn code(scene: &Scene, arguments: &[&str]) -> String {
    let before = scene.listing();
    let outcome = scene.run(arguments);
    assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
    assert_eq!(scene.listing(), before, "the folder has changed");
    let error = outcome.stderr.lines().find(|line| line.starts_with("error: ")).expect("an error");
    let code = error.strip_suffix(']').and_then(|line| line.rsplit_once('['));
    code.unwrap_or_else(|| panic!("no code: {error}")).1.to_owned()
}

const IMPORT: [&str; 6] = ["index", "import", "--model", "EXPORTED", "--out", "back.index"];

#[test]
fn what_is_exported_is_imported_again() {
    let scene = exported_layout();
    let found =
        scene.run(&[&IMPORT[..], &["layout", "--paths", "paths.txt", "--json"]].concat()).ended(0).json();
    assert_eq!((&found["files"], &found["compared"]), (&12.into(), &12.into()), "{found}");
    assert!(found["worst_cosine"].as_f64().expect("a cosine") > 0.999_99, "{found}");
    check_same(&scene, "back.index");
    let info = scene.run(&["index", "info", "back.index", "--json"]).ended(0).json();
    assert!(info["imported"].as_str().is_some_and(|from| from.ends_with("layout")), "{info}");
    // Nothing is embedded again.
    let again = scene.run(&["index", "images", "--index", "back.index", "--json"]).ended(0).json();
    assert_eq!((&again["unchanged"], &again["embedded"]), (&12.into(), &0.into()), "{again}");
    // The other ways out and in.
    for (file, more) in [("x.npy", &["--paths", "paths.txt"][..]), ("x.safetensors", &[]), ("x.parquet", &[])]
    {
        scene.run(&["index", "export", "all.index", "--out", file]).ended(0);
        let out = format!("{file}.index");
        let import = ["index", "import", file, "--space-of", "all.index", "--out", &out];
        scene.run(&[&import[..], more].concat()).ended(0);
        check_same(&scene, &out);
    }
    // The layout's own tables name the files.
    scene.run(&["index", "import", "layout", "--space-of", "all.index", "--out", "tables.index"]).ended(0);
    check_same(&scene, "tables.index");
    scene.run(&["index", "export", "all.index", "--out", "x.jsonl"]).ended(0);
    let lines = ["layout", "--paths", "x.jsonl", "--out", "lines.index", "--model", "EXPORTED"];
    scene.run(&[&["index", "import"], &lines[..]].concat()).ended(0);
    check_same(&scene, "lines.index");
}

/// A matrix of f32 as an npy file.
fn npy(shape: &str, values: &[f32]) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    file
}

#[test]
fn what_does_not_fit_is_not_imported() {
    let scene = Scene::new();
    scene.write("two.txt", "a.jpg\nb.jpg\n").write("twice.txt", "a.jpg\na.jpg\n").write("gap.txt", "a\n\n");
    let good: Vec<f32> = (0..256).map(|value| (value % 7) as f32 - 2.5).collect();
    let mut bad = good.clone();
    bad[130] = f32::NAN;
    scene.write("good.npy", npy("(2, 128)", &good)).write("nan.npy", npy("(2, 128)", &bad));
    for (name, shape, expected) in [
        ("wide", "(1, 256)", "shape-mismatch"),
        ("flat", "(256,)", "shape-mismatch"),
        ("deep", "(1, 2, 128)", "shape-mismatch"),
        ("long", "(3, 128)", "truncated"),
        ("short", "(1, 128)", "malformed"),
        ("huge", "(99999999999999999, 128)", "too-large"),
        ("endless", "(9223372036854775807, 0)", "too-large"),
        ("negative", "(-2, 128)", "bad-value"),
    ] {
        let file = format!("{name}.npy");
        scene.write(&file, npy(shape, &good));
        let found = code(&scene, &[&IMPORT[..], &[&file, "--paths", "two.txt"]].concat());
        assert_eq!(found, expected, "{name}");
    }
    scene.write("none.npy", npy("(0, 128)", &[])).write("thin.npy", npy("(4, 0)", &[]));
    for (file, paths, expected) in [
        ("nan.npy", "two.txt", "not-finite"),
        ("good.npy", "twice.txt", "bad-value"),
        ("good.npy", "gap.txt", "malformed"),
        ("none.npy", "two.txt", "missing"),
        ("thin.npy", "two.txt", "shape-mismatch"),
        ("two.txt", "two.txt", "unknown-format"),
    ] {
        let found = code(&scene, &[&IMPORT[..], &[file, "--paths", paths]].concat());
        assert_eq!(found, expected, "{file} {paths}");
    }
    scene.write("three.txt", "a\nb\nc\n");
    assert_eq!(
        code(&scene, &[&IMPORT[..], &["good.npy", "--paths", "three.txt"]].concat()),
        "shape-mismatch"
    );
    assert_eq!(code(&scene, &[&IMPORT[..], &["good.npy"]].concat()), "missing");
    // Without files there is nothing to compare, and they are taken at their word.
    let taken = scene.run(&[&IMPORT[..], &["good.npy", "--paths", "two.txt"]].concat()).ended(0);
    assert!(taken.stderr.contains("none of the files can be read here"), "{}", taken.stderr);
}

/// Writes a table with the columns `file`, `text` and `features`.
fn table(scene: &Scene, name: &str, rows: &[(Option<&str>, Option<&[f32]>)]) {
    let mut bytes = Vec::new();
    let rows =
        rows.iter().map(|(file, features)| ParquetRow { texts: vec![*file, Some("a")], features: *features });
    write_parquet(&mut bytes, &["file", "text"], rows).expect("a table in memory");
    scene.write(name, bytes);
}

#[test]
fn tables_that_do_not_fit_are_not_imported() {
    let scene = Scene::new();
    let good: Vec<f32> = (0..128).map(|value| (value % 7) as f32 - 2.5).collect();
    let (mut bad, zeros) = (good.clone(), vec![0.0; 128]);
    bad[3] = f32::INFINITY;
    let row = |file, features| (Some(file), features);
    let first = row("a.jpg", Some(&good[..]));
    for (name, second) in [
        ("good", row("b.jpg", Some(&good[..]))),
        ("infinite", row("b.jpg", Some(&bad))),
        ("zeros", row("b.jpg", Some(&zeros))),
        ("null", row("b.jpg", None)),
        ("short", row("b.jpg", Some(&good[1..]))),
        ("twice", row("a.jpg", Some(&good))),
        ("no-file", (None, Some(&good[..]))),
    ] {
        table(&scene, &format!("{name}.parquet"), &[first, second]);
    }
    let whole = std::fs::read(scene.path("good.parquet")).expect("a table");
    scene.write("cut.parquet", &whole[..whole.len() - 9]);
    let mut flipped = whole.clone();
    flipped[4] ^= 0x40;
    scene.write("flipped.parquet", flipped).write("no.parquet", "no table");
    table(&scene, "none.parquet", &[]);
    for (name, more, expected, message) in [
        (
            "infinite",
            &[][..],
            "not-finite",
            "row 1: expected a feature with a direction, found inf as value 3",
        ),
        ("zeros", &[], "not-finite", "row 1: expected a feature with a direction, found zeros alone"),
        ("null", &[], "bad-value", "row 1: expected a list of 128 values, found null"),
        ("short", &[], "bad-value", "row 1: expected a list of 128 values, found 127"),
        ("twice", &[], "bad-value", "the path belongs to two rows"),
        ("no-file", &[], "bad-value", "row 1: expected a text, found null"),
        ("cut", &[], "truncated", "the file may be cut off"),
        ("flipped", &[], "malformed", "byte 4"),
        ("no", &[], "unknown-format", "expected the first bytes of a Parquet file"),
        ("none", &[], "missing", "has no rows"),
        (
            "good",
            &["--path-column", "nothing"],
            "missing",
            "expected the column `nothing` of texts, found `file`, `text`",
        ),
        (
            "good",
            &["--feature-column", "text"],
            "missing",
            "expected the column `text` of lists of floats, found `features`",
        ),
    ] {
        let file = format!("{name}.parquet");
        let arguments = [&IMPORT[..], &[&file], more].concat();
        assert_eq!(code(&scene, &arguments), expected, "{name}");
        let stderr = scene.run(&arguments).stderr;
        assert!(stderr.contains(message) && stderr.contains(&file) | (name == "twice"), "{name}: {stderr}");
    }
    std::fs::create_dir(scene.path("parts")).expect("a folder");
    assert_eq!(code(&scene, &[&IMPORT[..], &["parts"]].concat()), "missing");
    // A folder of tables is one source; rows come in the order of the files' names.
    table(&scene, "parts/part-1.parquet", &[row("c.jpg", Some(&good))]);
    table(&scene, "parts/part-0.parquet", &[first, row("b.jpg", Some(&good[..]))]);
    scene.write("parts/_SUCCESS", "");
    scene.run(&[&IMPORT[..], &["parts", "--path-column", "file"]].concat()).ended(0);
    let paths: Vec<String> = rows(&scene.path("back.index")).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["a.jpg", "b.jpg", "c.jpg"]);
}

#[test]
fn a_layout_whose_tables_do_not_fit_is_not_imported() {
    let scene = exported_layout();
    std::fs::remove_file(scene.path("layout/metadata/metadata_0.parquet")).expect("a removal");
    let import = [&IMPORT[..], &["layout"]].concat();
    assert_eq!(code(&scene, &import), "missing");
    let good = vec![1.0; 128];
    table(&scene, "layout/metadata/metadata_0.parquet", &[(Some("a.jpg"), Some(&good))]);
    assert_eq!(code(&scene, &import), "shape-mismatch");
    let stderr = scene.run(&import).stderr;
    assert!(
        stderr.contains("img_emb_0.npy` has 12 rows, and `layout/metadata/metadata_0.parquet` has 1 rows"),
        "{stderr}"
    );
}

/// What pyarrow writes is read: in each compression that tables usually have, and in each kind of list.
#[test]
fn tables_of_pyarrow_are_imported() {
    let scene = exported_layout();
    let Some(python) = python() else { return };
    let script = "import numpy as n, pyarrow as a, pyarrow.parquet as p\n\
        x = n.load('layout/img_emb/img_emb_0.npy').astype('f4')\n\
        paths = p.read_table('layout/metadata/metadata_0.parquet')['image_path']\n\
        fixed = lambda x: a.FixedSizeListArray.from_arrays(a.array(x.ravel()), 128)\n\
        lists = a.array(x.astype('f8').tolist(), a.list_(a.float64()))\n\
        write = lambda name, column, **more: p.write_table(a.table({'n': list(range(12)), 'path': paths, 'vector': column}), name + '.parquet', **more)\n\
        write('plain', fixed(x), compression='none', use_dictionary=False)\n\
        write('snappy', fixed(x), compression='snappy')\n\
        write('zstd', fixed(x), compression='zstd', row_group_size=5)\n\
        write('half', fixed(x.astype('f2')), compression='gzip', data_page_version='2.0')\n\
        write('double', lists, compression='zstd')";
    let output = Command::new(&python).args(["-c", script]).current_dir(scene.path(".")).output();
    let output = output.expect("python ran");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["plain", "snappy", "zstd", "half", "double"] {
        let (file, out) = (format!("{name}.parquet"), format!("{name}.index"));
        scene.run(&["index", "import", &file, "--model", "EXPORTED", "--out", &out]).ended(0);
        check_same(&scene, &out);
    }
}

/// A Python with numpy and pyarrow.
fn python() -> Option<String> {
    let python = std::env::var("CLIPWAY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import numpy, pyarrow"]).output();
    if has.is_ok_and(|has| has.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: `{python}` has no numpy and pyarrow; name another with CLIPWAY_PYTHON");
    None
}

#[test]
fn features_of_another_model_are_refused() {
    let scene = exported_layout();
    // In another order the rows belong to other files.
    let paths = std::fs::read_to_string(scene.path("paths.txt")).expect("paths");
    let turned: String = paths.lines().rev().map(|path| format!("{path}\n")).collect();
    scene.write("turned.txt", turned);
    let found = code(&scene, &[&IMPORT[..], &["layout", "--paths", "turned.txt"]].concat());
    assert_eq!(found, "other-space");
}

#[test]
fn python_reads_the_layout() {
    let scene = exported_layout();
    let Some(python) = python() else { return };
    let script = "import json, numpy, pyarrow.parquet as p\n\
        x = numpy.load('layout/img_emb/img_emb_0.npy')\n\
        t = p.read_table('layout/metadata/metadata_0.parquet')\n\
        print(json.dumps([str(x.dtype), x.shape, t.column_names, t['image_path'].to_pylist(), x.astype('f4').tolist()]))";
    let output = Command::new(&python).args(["-c", script]).current_dir(scene.path(".")).output();
    let output = output.expect("python ran");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected = rows(&scene.path("all.index"));
    let paths: Vec<&str> = expected.iter().map(|(path, _)| path.as_str()).collect();
    let values: Vec<&[f32]> = expected.iter().map(|(_, feature)| feature.as_slice()).collect();
    let expected = serde_json::json!(["float16", [12, 128], ["image_path"], paths, values]);
    assert_eq!(found[3], expected[3]);
    assert_eq!((&found[0], &found[1], &found[2]), (&expected[0], &expected[1], &expected[2]));
    let numbers = |value: &Value| -> Vec<f32> {
        let rows = value[4].as_array().expect("rows").iter();
        rows.flat_map(|row| {
            row.as_array().expect("a row").iter().map(|x| x.as_f64().expect("a number") as f32)
        })
        .collect()
    };
    assert_eq!(numbers(&found), numbers(&expected));
}

// Its name of a file is none on Windows.
#[cfg(unix)]
#[test]
fn results_are_a_page_and_a_folder_of_links() {
    let scene = Scene::indexed();
    std::fs::copy(scene.path("images/lion.png"), scene.path("images/<b>&lion.png")).expect("a copy");
    scene.run(&["index", "images", "--index", "all.index", "--quiet"]).ended(0);
    std::fs::remove_file(scene.path("images/avocado.png")).expect("a removal");
    let search = ["search", "--index", "all.index", "--like", "images/lion.png", "-k", "12"];
    let out = ["--html", "found.html", "--link-to", "found", "--json"];
    let outcome = scene.run(&[&search[..], &out].concat()).ended(0);
    let found = outcome.json();
    let results = found["queries"][0]["results"].as_array().expect("results");
    let page = std::fs::read_to_string(scene.path("found.html")).expect("a page");
    assert_eq!(page.matches("<li>").count(), results.len());
    // The one that is gone says so instead.
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), results.len() - 1);
    assert!(!page.contains("<b>") && page.contains("&lt;b&gt;&amp;lion.png"));
    assert!(!page.contains("http") && !page.contains("<script"), "nothing is fetched, nothing runs");
    let score = format!("1. score {:.2}", results[0]["score"].as_f64().expect("a score"));
    assert!(page.contains(&score) && page.contains("prefers-color-scheme: dark"), "{score}");
    let mut links: Vec<_> = std::fs::read_dir(scene.path("found"))
        .expect("a folder")
        .map(|entry| entry.expect("a link").file_name().into_string().expect("a name"))
        .collect();
    links.sort();
    assert_eq!(links.len(), results.len() - 1);
    assert_eq!(links[0], "01-<b>&lion.png");
    let target = std::fs::read_link(scene.path("found").join(&links[0])).expect("a link");
    assert_eq!(Some(target.to_str().expect("a path")), results[0]["path"].as_str());
    assert!(outcome.stderr.contains("avocado.png") && outcome.stderr.contains("gets no link"));
    // Nothing is overwritten.
    for out in [["--html", "found.html"], ["--link-to", "found"]] {
        assert_eq!(code(&scene, &[&search[..], &out].concat()), "exists");
    }
}
