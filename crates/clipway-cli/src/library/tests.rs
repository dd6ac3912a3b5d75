//! Options by name, commands by name.

use super::*;

fn option(command: &str, name: &str, value: OptionValue) -> Result<Vec<OsString>, OptionError> {
    let mut all = Arguments::command();
    all.build();
    words::words(all.find_subcommand(command).unwrap(), vec![(name.to_owned(), value)], vec!["x".into()])
}

#[test]
fn options_become_words_by_their_definition() {
    let words = |command, name, value| {
        let words = option(command, name, value).unwrap();
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    let many = |values: &[&str]| OptionValue::Many(values.iter().map(OsString::from).collect());
    assert_eq!(words("export", "dry_run", OptionValue::Switch(true)), "--dry-run -- x");
    assert_eq!(words("export", "dry_run", OptionValue::Switch(false)), "-- x");
    assert_eq!(words("export", "out", OptionValue::One("-odd".into())), "--out=-odd -- x");
    assert_eq!(words("export", "image_mean", many(&["0", "-1", "2"])), "--image-mean 0 -1 2 -- x");
    assert_eq!(words("export", "ignore", many(&["a", "b"])), "--ignore=a --ignore=b -- x");
    assert_eq!(words("inspect", "threads", OptionValue::One("2".into())), "--threads=2 -- x");
    let refused = |command, name, value| option(command, name, value).unwrap_err().to_string();
    assert_eq!(
        refused("export", "dryrun", OptionValue::Switch(true)),
        "`export` has no option `dryrun`; the nearest is `dry_run`"
    );
    assert_eq!(refused("export", "json", OptionValue::Switch(true)), "`export` has no option `json`");
    assert_eq!(
        refused("export", "dry_run", OptionValue::One("yes".into())),
        "`dry_run`: expected True or False, found another value"
    );
    assert_eq!(
        refused("export", "out", OptionValue::Switch(true)),
        "`out`: expected a value, found a truth value"
    );
    assert_eq!(refused("export", "out", many(&["a"])), "`out`: expected one value, found a list");
    assert!(help("export").unwrap().contains("dry_run\n    "));
    assert!(help("nothing").is_none());
}

#[test]
fn a_command_returns_its_result_and_its_failure() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/emoji-clip");
    let weights = OsString::from(format!("{folder}/emoji-clip.pt"));
    for threads in ["1", "2"] {
        let options = vec![("threads".to_owned(), OptionValue::One(threads.into()))];
        let reply = call("inspect", vec![weights.clone()], options, Arc::default()).unwrap();
        assert!(reply.passed && reply.result["layout"]["name"] == "open_clip", "{}", reply.result["layout"]);
    }
    let failure = |paths| match call("inspect", paths, Vec::new(), Arc::default()) {
        Err(CallError::Failed(failure)) => failure.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(failure(vec!["/nowhere/at/all".into()]), "io");
    assert_eq!(failure(Vec::new()), "bad-option");
    assert!(matches!(
        call("nothing", Vec::new(), Vec::new(), Arc::default()),
        Err(CallError::Option(OptionError::Command { .. }))
    ));
    let model = ("model".to_owned(), OptionValue::One(format!("{folder}/emoji-clip.json").into()));
    let threads = ("threads".to_owned(), OptionValue::One("1".into()));
    let loaded = load(weights, vec![model, threads], Arc::default()).unwrap();
    assert_eq!((loaded.processor.threads(), loaded.clip.embed_dim()), (1, 128));
}

#[test]
fn commands_without_a_result_are_refused() {
    for name in
        ["man", "completions", "nothing"].into_iter().chain(cfg!(feature = "serve").then_some("serve"))
    {
        let error = call(name, vec!["x".into()], Vec::new(), Arc::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("there is no command `{name}`"));
    }
}
