//! Addresses that are made to reach what they should not: each is refused with its code, and nothing is connected to.

use std::net::{IpAddr, ToSocketAddrs};

use clipway_fetch::is_public;

use crate::lies::{PUBLIC, SECRET};
use crate::scene::{IMAGE, Scene};

/// Addresses that are refused before any lookup.
const UNSOUND: [&str; 84] = [
    // Loopback, private networks and metadata, in every spelling of IPv4.
    "http://127.0.0.1/image",
    "http://127.0.0.1:80/image",
    "http://127.0.0.1./image",
    "http://127.1/image",
    "http://127.0.1/image",
    "http://0/image",
    "http://0.0.0.0/image",
    "http://2130706433/image",
    "http://017700000001/image",
    "http://0177.0.0.1/image",
    "http://0177.1/image",
    "http://0x7f000001/image",
    "http://0x7f.0.0.1/image",
    "http://0x7f.1/image",
    "http://0X7F.0X0.0X0.0X1/image",
    "http://0x7f.0.1/image",
    "http://127.0.0.0x1/image",
    "http://00000177.0.0.1/image",
    "http://10.0.0.1/image",
    "http://167772161/image",
    "http://172.16.0.1/image",
    "http://192.168.0.1/image",
    "http://192.168.1/image",
    "http://3232235521/image",
    "http://100.64.0.1/image",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://0xa9.0xfe.0xa9.0xfe/latest/meta-data/",
    "http://0251.0376.0251.0376/latest/meta-data/",
    "http://169.254.43518/latest/meta-data/",
    "http://168.63.129.16/machine",
    "http://100.100.100.200/latest/meta-data/",
    "http://192.0.0.192/opc/v1/instance/",
    "http://255.255.255.255/image",
    "http://224.0.0.1/image",
    "http://93.184.215.14/image",
    // IPv6, with IPv4 in it and with zones.
    "http://[::1]/image",
    "http://[::]/image",
    "http://[0:0:0:0:0:0:0:1]/image",
    "http://[::127.0.0.1]/image",
    "http://[::ffff:127.0.0.1]/image",
    "http://[::ffff:7f00:1]/image",
    "http://[::ffff:0:127.0.0.1]/image",
    "http://[64:ff9b::127.0.0.1]/image",
    "http://[2002:7f00:1::]/image",
    "http://[2001:0:7f00:1::]/image",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fe80::1%25eth0]/image",
    "http://[fe80::1%eth0]/image",
    "http://[::1%25lo]/image",
    "http://::1/image",
    "http://[::1/image",
    // User information, backslashes, fragments and other ends of a host.
    "http://plain.example@127.0.0.1/image",
    "http://127.0.0.1@plain.example/image",
    "http://user:word@plain.example/image",
    "http://@plain.example/image",
    "http://plain.example%40127.0.0.1/image",
    "http://127.0.0.1\\@plain.example/image",
    "http://plain.example\\@127.0.0.1/image",
    "http:\\\\127.0.0.1\\image",
    "http://127.0.0.1#@plain.example/image",
    "http://127.0.0.1?@plain.example/image",
    "http://127.0.0.1;plain.example/image",
    "http://plain.example:80:127.0.0.1/image",
    // Tabs, line ends, spaces, percents, dots and letters beyond ASCII.
    "http://127.0.0.1\t/image",
    "http://plain.exa\tmple/image",
    "http://plain.example/image\r\nHost: 127.0.0.1",
    "http://plain.example/ HTTP/1.1\r\nX: y",
    " http://plain.example/image",
    "http://plain.example/image ",
    "http://127%2e0%2e0%2e1/image",
    "http://%31%32%37.0.0.1/image",
    "http://plain%00.example/image",
    "http://127\u{3002}0\u{3002}0\u{3002}1/image",
    "http://\u{2460}\u{2461}\u{2466}.\u{24ea}.\u{24ea}.\u{2460}/image",
    "http://plain\u{ff0e}example/image",
    "http://pl\u{430}in.example/image",
    // Other schemes, and none.
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp://plain.example/image",
    "dict://127.0.0.1:11211/stats",
    "//plain.example/image",
    "plain.example:80/image",
];

/// Sound addresses that are not allowed: hosts, ports and schemes.
const NOT_ALLOWED: [&str; 18] = [
    "http://localhost/image",
    "http://LOCALHOST./image",
    "http://localhost:6379/image",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://metadata/image",
    "http://127.0.0.1.nip.example/image",
    "http://plain.example.evil.example/image",
    "http://evilplain.example/image",
    "http://evil.example/plain.example",
    "http://a.plain.example/image",
    "http://plain.example:22/image",
    "http://plain.example:443/image",
    "http://plain.example:65535/image",
    "https://plain.example/image",
    "http://images.example/image",
    "https://images.example:8443/image",
    "http://private.example/image",
    "http://xn--plin-8cd.example/image",
];

/// Ports that are none.
const BAD_PORTS: [&str; 6] = ["", "0", "080", "65536", "+80", "8o"];

/// What the names of allowed hosts may resolve to: not one of them public.
const PRIVATE: [&str; 24] = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.1.2.3",
    "172.31.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fd00:ec2::254",
    "fe80::1",
];

#[tokio::test]
async fn unsound_addresses_are_refused_before_any_lookup() {
    let scene = Scene::new();
    let bad_ports = BAD_PORTS.map(|port| format!("http://plain.example:{port}/image"));
    let all = UNSOUND.iter().chain(&NOT_ALLOWED).map(|text| (*text).to_owned()).chain(bad_ports);
    for text in all {
        let (code, message) = scene.fetch(&text).await.expect_err(&text);
        assert_eq!(code, "serve-remote-image", "{text:?}: {message}");
    }
    for text in NOT_ALLOWED {
        let (_, message) = scene.fetch(text).await.expect_err(text);
        assert!(message.ends_with("are not fetched"), "{text}: {message}");
    }
    assert_eq!(*scene.network.resolved.lock().unwrap(), Vec::<String>::new());
    assert!(scene.network.connected.lock().unwrap().is_empty());
}

#[tokio::test]
async fn names_with_an_address_that_is_not_public_are_refused() {
    let scene = Scene::new();
    for (index, ip) in PRIVATE.into_iter().enumerate() {
        let name = format!("a{index}.private.example");
        // Alone, and beside a public one on either side.
        for found in [vec![ip], vec![PUBLIC, ip], vec![ip, PUBLIC]] {
            scene.network.say(&name, &[&found]);
            let (code, message) = scene.fetch(&format!("http://{name}/image")).await.expect_err(ip);
            assert_eq!(code, "serve-remote-image", "{ip}: {message}");
            assert!(message.contains("not public") && !message.contains(ip), "{ip}: {message}");
        }
    }
    assert!(scene.network.connected.lock().unwrap().is_empty());
    // The same names, once they are public.
    scene.network.say("a0.private.example", &[&[PUBLIC]]);
    assert_eq!(scene.fetch("http://a0.private.example/image").await.as_deref(), Ok(IMAGE));
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_checked_address_is_the_one_that_is_used() {
    let scene = Scene::new();
    scene.network.say("rebinding.example", &[&[PUBLIC], &["127.0.0.1"]]);
    assert_eq!(scene.fetch("http://rebinding.example/image").await.as_deref(), Ok(IMAGE));
    assert_eq!(scene.network.resolved.lock().unwrap().len(), 1);
    let connected = scene.network.connected.lock().unwrap().clone();
    assert_eq!(connected, [format!("{PUBLIC}:80").parse().unwrap()]);
    // By now the name has another address, also for a redirect to itself.
    let (code, _) = scene.fetch("http://rebinding.example/image").await.expect_err("rebound");
    assert_eq!(code, "serve-remote-image");
    scene.network.say("rebinding.example", &[&[PUBLIC], &["127.0.0.1"]]);
    *scene.plain.locations.lock().unwrap() = vec!["/image".to_owned()];
    let (code, _) = scene.fetch("http://rebinding.example/to/0").await.expect_err("rebound by a redirect");
    assert_eq!(code, "serve-remote-image");
    assert_eq!(scene.network.connected.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn redirects_are_under_the_same_rules() {
    let scene = Scene::new();
    scene.network.say("x.private.example", &[&["10.0.0.1"]]);
    let mut bad: Vec<String> =
        UNSOUND.iter().chain(&NOT_ALLOWED).map(|text| text.replace(['\r', '\n'], "")).collect();
    bad.retain(|text| text.is_ascii() && text.trim() == text.as_str());
    bad.push("http://x.private.example/image".to_owned());
    bad.push(format!("data:image/png;base64,{SECRET}"));
    bad.extend(["image", "../image", "?image", "javascript:alert(1)"].map(str::to_owned));
    *scene.plain.locations.lock().unwrap() = bad.clone();
    *scene.secure.locations.lock().unwrap() = vec![
        "https://a.images.example/image".to_owned(),
        // What came by a safe way does not go on by an unsafe one.
        "http://plain.example/image".to_owned(),
    ];
    for (index, text) in bad.iter().enumerate() {
        let (code, message) = scene.fetch(&format!("http://plain.example/to/{index}")).await.expect_err(text);
        assert_eq!(code, "serve-remote-image", "{text:?}: {message}");
        assert!(message.ends_with("not allowed") || message.ends_with("not public"), "{text:?}: {message}");
    }
    // One connection for each first answer, and none for what it leads to.
    assert_eq!(scene.network.connected.lock().unwrap().len(), bad.len());
    assert_eq!(scene.fetch("https://images.example/to/0").await.as_deref(), Ok(IMAGE));
    assert_eq!(scene.fetch("https://images.example/to/1").await.expect_err("unsafe").0, "serve-remote-image");
}

/// The table is worth something: what a careless client makes of these addresses, with the system's own reading of
/// hosts, is not public for most of those that have one.
#[test]
fn a_careless_client_would_follow_these_addresses() {
    let host = |text: &str| {
        let rest = text.split_once("://")?.1;
        let rest = rest.split(['/', '\\', '#', '?']).next()?;
        let rest = rest.rsplit('@').next()?;
        let host = match rest.strip_prefix('[') {
            Some(rest) => rest.split([']', '%']).next()?,
            None => rest.split([':', '\t', ';']).next()?,
        };
        Some(host.trim_end_matches('.').to_owned())
    };
    let private = |text: &&&str| {
        // Only numbers: names would ask a network.
        let Some(host) = host(text).filter(|host| {
            host.parse::<IpAddr>().is_ok()
                || host.bytes().all(|byte| byte.is_ascii_hexdigit() || b".xX".contains(&byte))
        }) else {
            return false;
        };
        let Ok(mut found) = (host.as_str(), 80).to_socket_addrs() else { return false };
        found.any(|address| !is_public(address.ip()))
    };
    let count = UNSOUND.iter().filter(private).count();
    assert!(count >= 45, "{count}");
}
