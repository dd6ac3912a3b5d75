//! Strict JSON: what is accepted, what is refused and where, and typed access.

use clipway_formats::{Code, FormatError, Json, JsonLimits, JsonValue, Place, push_json_string};

use crate::corpus;

const LIMITS: JsonLimits = JsonLimits { bytes: 1 << 16, depth: 8, values: 100, byte_order_mark: true };

fn parse(text: &str) -> Result<Json, FormatError> {
    Json::parse(text.as_bytes(), LIMITS)
}

#[test]
fn values_are_read() {
    let check = |text: &str, expected: JsonValue| assert_eq!(parse(text).unwrap().value, expected, "{text}");
    let string = |text: &str| JsonValue::String(text.to_owned());
    check("null", JsonValue::Null);
    check("\u{feff} true\n", JsonValue::Bool(true));
    check("false", JsonValue::Bool(false));
    check("0", JsonValue::Unsigned(0));
    check("18446744073709551615", JsonValue::Unsigned(u64::MAX));
    check("-9223372036854775808", JsonValue::Negative(i64::MIN));
    check("1.0", JsonValue::Float(1.0));
    check("-2.5E-3", JsonValue::Float(-0.0025));
    check("1e2", JsonValue::Float(100.0));
    check("0.1", JsonValue::Float(0.1));
    check(r#""""#, string(""));
    check(r#""a\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00é""#, string("a\"\\/\u{8}\u{c}\n\r\té😀é"));
    check("\"\u{7f}\"", string("\u{7f}"));
    check("[ ]", JsonValue::Array(vec![]));
    check("{ }", JsonValue::Object(vec![]));
    let JsonValue::Object(members) = parse(r#" {"b": 1, "a": [2]}"#).unwrap().value else { panic!() };
    let order: Vec<(&str, u64)> = members.iter().map(|(key, value)| (key.as_str(), value.offset)).collect();
    assert_eq!(order, [("b", 7), ("a", 15)]);
}

#[test]
fn bad_text_is_refused_at_its_byte() {
    let check = |text: &str, code: Code, byte: u64| {
        let error = parse(text).err().unwrap_or_else(|| panic!("{text} is accepted"));
        assert_eq!((error.code, &error.place), (code, &Place::Byte(byte)), "{text}: {error}");
    };
    check("", Code::Truncated, 0);
    check("  ", Code::Truncated, 2);
    check("{\"a\":", Code::Truncated, 5);
    check("{\"a", Code::Truncated, 3);
    check("[1", Code::Truncated, 2);
    check("{\"a\":1}{", Code::Malformed, 7);
    check("[1,]", Code::Malformed, 3);
    check("{\"a\":1,}", Code::Malformed, 7);
    check("{a:1}", Code::Malformed, 1);
    check("{'a':1}", Code::Malformed, 1);
    check("{\"a\" 1}", Code::Malformed, 5);
    check("// x\n1", Code::Malformed, 0);
    check("[1 /* x */]", Code::Malformed, 3);
    check("NaN", Code::Malformed, 0);
    check("-Infinity", Code::Malformed, 1);
    check("tru", Code::Malformed, 0);
    check("truex", Code::Malformed, 4);
    check("+1", Code::Malformed, 0);
    check("01", Code::Malformed, 1);
    check("-01", Code::Malformed, 2);
    check(".5", Code::Malformed, 0);
    check("1.", Code::Truncated, 2);
    check("1.e1", Code::Malformed, 2);
    check("1e+", Code::Truncated, 3);
    check("1e400", Code::BadValue, 0);
    check(" 18446744073709551616", Code::BadValue, 1);
    check("-9223372036854775809", Code::BadValue, 0);
    check("\"\u{1}\"", Code::Malformed, 1);
    check("\"\n\"", Code::Malformed, 1);
    check("\"\0\"", Code::Malformed, 1);
    check("1\0", Code::Malformed, 1);
    check(r#""\x41""#, Code::Malformed, 2);
    check(r#""\u12g4""#, Code::Malformed, 5);
    check(r#""\ud800""#, Code::Malformed, 3);
    check(r#""\ud800\u0041""#, Code::Malformed, 3);
    check(r#""\udc00""#, Code::Malformed, 3);
    check(r#"{"a":1,"b":2,"\u0061":3,"b":4}"#, Code::Duplicate, 13);
    check(r#"[{"a":{},"a":{}}]"#, Code::Duplicate, 9);
    check("\u{feff}\u{feff}1", Code::Malformed, 3);
    check("[[[[[[[[[", Code::TooLarge, 9);
    check(&format!("[{}1]", "1,".repeat(100)), Code::TooLarge, 199);
}

#[test]
fn bytes_and_marks_are_bounded() {
    let strict = JsonLimits { byte_order_mark: false, ..LIMITS };
    assert_eq!(Json::parse("\u{feff}1".as_bytes(), strict).unwrap_err().place, Place::Byte(0));
    let long = " ".repeat(LIMITS.bytes) + "1";
    assert_eq!(parse(&long).unwrap_err().code, Code::TooLarge);
    let error = Json::parse(b"[\"a\xff\"]", LIMITS).unwrap_err();
    assert_eq!((error.code, error.place), (Code::Malformed, Place::Byte(3)));
    let error = Json::parse(b"\xef\xbb\xbf[\xc0]", LIMITS).unwrap_err();
    assert_eq!((error.code, error.place), (Code::Malformed, Place::Byte(4)));
}

#[test]
fn the_corpus_of_broken_configs_is_refused_quickly() {
    let Some(cases) = corpus::cases("config") else { return };
    for case in cases {
        let parsed = Json::parse(&case.bytes, JsonLimits::CONFIG);
        let name = case.path.rsplit('/').next().unwrap();
        let broken = name.starts_with("bomb_") || name.starts_with("syn_");
        let value_only = ["syn_null.json", "syn_number.json"].contains(&name);
        if broken && !value_only {
            assert!(parsed.is_err(), "{} is accepted", case.path);
        } else if case.tensors.is_some() {
            assert!(parsed.is_ok(), "{}: {:?}", case.path, parsed);
        }
    }
}

#[test]
fn typed_access_names_the_path() {
    let json =
        parse(r#"{"vision_cfg":{"layers":[1,"x",-2],"odd key":true,"scale":0.5,"none":null}}"#).unwrap();
    let vision = json.root().require("vision_cfg").unwrap();
    let layers = vision.require("layers").unwrap();
    let items: Vec<_> = layers.items().unwrap().collect();
    assert_eq!(items[0].integer(1, 8), Ok(1));
    assert_eq!(items[0].number(), Ok(1.0));
    assert_eq!(items[1].string(), Ok("x"));
    assert_eq!(items[2].number(), Ok(-2.0));
    assert_eq!(vision.require("odd key").unwrap().boolean(), Ok(true));
    assert_eq!(vision.require("scale").unwrap().number(), Ok(0.5));
    assert!(vision.require("none").unwrap().is_null());
    assert!(vision.get("absent").unwrap().is_none());
    assert_eq!(
        vision.members().unwrap().map(|(key, _)| key).collect::<Vec<_>>(),
        ["layers", "odd key", "scale", "none"]
    );
    let check = |error: FormatError, expected: &str| assert_eq!(error.to_string(), expected);
    check(
        items[1].integer(1, 8).unwrap_err(),
        "`$.vision_cfg.layers[1]`: expected an integer from 1 to 8, found the string `x`",
    );
    check(
        items[2].integer(0, 8).unwrap_err(),
        "`$.vision_cfg.layers[2]`: expected an integer from 0 to 8, found -2",
    );
    check(
        items[0].integer(2, 8).unwrap_err(),
        "`$.vision_cfg.layers[0]`: expected an integer from 2 to 8, found 1",
    );
    check(
        vision.require("scale").unwrap().integer(0, 8).unwrap_err(),
        "`$.vision_cfg.scale`: expected an integer from 0 to 8, found 0.5",
    );
    check(
        vision.require("odd key").unwrap().string().unwrap_err(),
        "`$.vision_cfg[\"odd key\"]`: expected a string, found true",
    );
    check(vision.require("width").unwrap_err(), "`$.vision_cfg`: the key `width` is missing");
    check(vision.only_keys(&["layers", "odd key", "none"]).unwrap_err(), "`$.vision_cfg.scale`: unknown key");
    check(
        layers.get("x").unwrap_err(),
        "`$.vision_cfg.layers`: expected an object, found an array of length 3",
    );
    check(vision.items().err().unwrap(), "`$.vision_cfg`: expected an array, found an object");
}

#[test]
fn written_strings_read_back() {
    let text: String = (0..0x250).filter_map(char::from_u32).chain("重😀\u{2028}".chars()).collect();
    let mut out = String::new();
    push_json_string(&mut out, &text);
    assert_eq!(parse(&out).unwrap().value, JsonValue::String(text));
    assert!(out.starts_with(r#""\u0000\u0001"#), "{out}");
}
