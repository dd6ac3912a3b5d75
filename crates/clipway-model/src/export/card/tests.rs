use super::*;
use crate::front_matter::split;

fn ours() -> String {
    format!(
        "---\nlicense: mit\nlibrary_name: open_clip\npipeline_tag: zero-shot-image-classification\ntags:\n- clip\n- clipway\n---\n\
         {BEGIN}# ViT-B-32\n\nours\n\n```python\nimport a\n\nfolder = 'PATH/TO/THIS/FOLDER'\nx('local-dir:PATH/TO/THIS/FOLDER')\n\
         y('PATH/TO/THIS/FOLDER')\n```\n\n```sh\nclipway verify PATH/TO/THIS/FOLDER\n```\n{END}"
    )
}

#[test]
fn examples_name_the_repository() {
    let card = for_repository(&ours(), "me/my-model");
    assert!(!card.contains("PATH/TO"), "{card}");
    for part in [
        "# my-model\n\nours",
        "import a\nfrom huggingface_hub import snapshot_download\n\nfolder = snapshot_download('me/my-model')\n",
        "x('hf-hub:me/my-model')\ny('me/my-model')\n",
        "clipway verify hf-hub:me/my-model\n",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert_eq!(for_repository(&card, "me/my-model"), card);
    assert_eq!(for_repository("# Mine\n", "me/my-model"), "# Mine\n");
}

#[test]
fn a_card_of_people_stays_unless_an_update_is_asked_for() {
    let theirs = "---\nlicense: apache-2.0 # checked by us\nodd: {a: 1}\n---\n# Ours\n\nText.\n";
    let kept = merged(theirs, &ours(), false).unwrap();
    assert_eq!(kept.text, theirs);
    assert_eq!(kept.notes, ["the README states the license `apache-2.0`, but the model's is `mit`"]);
    for whole in ["# Ours\n", "---\n{a: 1}\n---\n# Ours\n", "", "---\r\nlicense: mit\r\n---\r\n\u{feff}x"] {
        assert_eq!(merged(whole, &ours(), false).unwrap().text, whole);
    }

    let updated = merged(theirs, &ours(), true).unwrap();
    let (front, body) = split(&updated.text).unwrap();
    let front = front.unwrap();
    assert_eq!((front.text("license"), front.text("library_name")), (Some("mit"), Some("open_clip")));
    assert!(updated.text.contains("odd: {a: 1}\n") && updated.notes.is_empty(), "{updated:?}");
    assert!(body.starts_with("# Ours\n\nText.\n\n<!-- clipway: begin;") && body.ends_with(END), "{body}");
    assert!(merged("---\n{a: 1}\n---\n# Ours\n", &ours(), true).is_err());
}

#[test]
fn between_its_marks_a_card_is_renewed_and_outside_it_stays() {
    let theirs = format!(
        "---\nlicense: mit\ntags: [mine]\n---\nBefore.\n\n{BEGIN}# Old\n\nold numbers\n{END}\nAfter.\n"
    );
    for update in [false, true] {
        let found = merged(&theirs, &ours(), update).unwrap();
        let (front, body) = split(&found.text).unwrap();
        assert!(
            body.starts_with("Before.\n\n<!-- clipway: begin;")
                && body.ends_with(&format!("{END}\nAfter.\n"))
        );
        assert!(body.contains("ours\n") && !body.contains("old numbers"), "{body}");
        assert!(found.text.contains("tags: [mine]\nlibrary_name: open_clip\n"), "{}", front.unwrap());
        assert_eq!(merged(&found.text, &ours(), update).unwrap(), found, "a second time changes nothing");
    }
    // A card that is all ours is renewed as a whole.
    let old = ours().replace("ours\n", "old\n").replace("license: mit", "license: apache-2.0");
    assert_eq!(merged(&old, &ours(), false).unwrap().text, ours());
    // Front matter that cannot be read stays as it is.
    let odd = format!("---\n{{a: 1}}\n---\nBefore.\n{BEGIN}old numbers\n{END}After.\n");
    let found = merged(&odd, &ours(), false).unwrap();
    assert!(found.text.starts_with("---\n{a: 1}\n---\nBefore.\n<!-- clipway: begin;"), "{}", found.text);
    assert!(found.text.ends_with("-->\nAfter.\n") && !found.text.contains("old numbers"));
    assert!(found.notes[0].contains("line 2 of the front matter"), "{:?}", found.notes);
    // An end without a beginning, and the other way round, is text like any other.
    for broken in [format!("a\n{END}b\n"), format!("a\n{BEGIN}b\n"), format!("{END}{BEGIN}")] {
        assert_eq!(merged(&broken, &ours(), false).unwrap().text, broken);
    }
}

#[test]
fn a_card_of_ones_own_is_completed() {
    let own = completed("# Mine\n\nText.\n", &ours()).unwrap();
    let (front, _) = split(&ours()).unwrap();
    assert_eq!(own.text, format!("{}# Mine\n\nText.\n", front.unwrap()));
    let own = completed("---\nlicense: apache-2.0\n---\n# Mine\n", &ours()).unwrap();
    assert!(own.text.starts_with("---\nlicense: apache-2.0\nlibrary_name: open_clip\n"));
    assert_eq!(own.notes.len(), 1);
}

#[test]
fn front_matter_that_the_hub_would_not_take() {
    let check = |inside: &str, expected: &[&str]| {
        let text = format!("---\n{inside}---\n");
        assert_eq!(problems(&split(&text).unwrap().0.unwrap()), expected, "{inside}");
    };
    check("license: mit\nlibrary_name: open_clip\nbase_model: a/b\ntags:\n- clip\n", &[]);
    check("tags: [a]\n", &["it states no `license`"]);
    check("license: other\n", &["`license: other` needs a `license_name` and a `license_link`"]);
    check("license: other\nlicense_name: x\nlicense_link: LICENSE\n", &[]);
    check(
        "license: my own\n",
        &["the Hub has no license `my own`: it takes `license: other` with a `license_name`"],
    );
    check(
        "license: mit\nlibrary_name: two words\nbase_model: a/b/c\ntags: a\n",
        &[
            "`library_name` is not one word",
            "`base_model`: `a/b/c` is not the name of a repository",
            "`tags` is not a list",
        ],
    );
    assert_eq!(problems(&split(&ours()).unwrap().0.unwrap()), [""; 0]);
}
