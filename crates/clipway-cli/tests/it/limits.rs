//! Options that raise limits: what is refused without them is read with them.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::scene::Scene;

/// A zip archive of one deflated npy file of `count` zero bytes.
fn deflated_zeros(count: usize) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({count},), }}\n");
    let mut content =
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat();
    content.resize(content.len() + count, 0);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&content).expect("deflated bytes");
    let packed = encoder.finish().expect("deflated bytes");
    let sizes = [crc32fast::hash(&content), packed.len() as u32, content.len() as u32];
    let sizes = sizes.map(u32::to_le_bytes).concat();
    let fields = [&[20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0][..], &sizes, &[5, 0, 0, 0]].concat();
    let local = [b"PK\x03\x04", &fields[..], b"a.npy", &packed].concat();
    let directory = [b"PK\x01\x02\x14\x00", &fields[..], &[0; 14], b"a.npy"].concat();
    let places = [directory.len() as u32, local.len() as u32].map(u32::to_le_bytes).concat();
    [&local[..], &directory, b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &places, &[0, 0]].concat()
}

#[test]
fn an_archive_that_inflates_far_is_read_on_request() {
    let scene = Scene::new();
    scene.write("zeros.npz", deflated_zeros(40 << 20));
    let refused = scene.run(&["inspect", "zeros.npz"]).ended(1);
    assert!(refused.stderr.contains("[too-large]"), "{}", refused.stderr);
    assert!(refused.stderr.contains("the limit is"), "{}", refused.stderr);
    let refused = scene.run(&["inspect", "zeros.npz", "--max-inflated", "39MiB"]).ended(1);
    assert!(refused.stderr.contains("[too-large]"), "{}", refused.stderr);
    // The archive is read; that its only array belongs to no model is found next.
    let read = scene.run(&["inspect", "zeros.npz", "--max-inflated", "41MiB"]);
    assert!(!read.stderr.contains("[too-large]"), "{}", read.stderr);
    assert!(format!("{}{}", read.stdout, read.stderr).contains("`a`"), "{read:?}");
}

#[test]
fn a_long_file_of_labels_is_read_on_request() {
    let scene = Scene::new();
    scene.write("labels.txt", vec![b'\n'; (64 << 20) + 1]);
    let classify = ["classify", "EXPORTED", "EMOJI/pictures/avocado.png", "--labels-file", "labels.txt"];
    let refused = scene.run(&classify).ended(1);
    for expected in ["[too-large]", "67108865 bytes", "the limit is 67108864 for texts", "`--max-input`"] {
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
    // A lower limit changes nothing.
    assert_eq!(scene.run(&[&classify[..], &["--max-input", "1MB"]].concat()), refused);
    let read = scene.run(&[&classify[..], &["--max-input", "65MiB"]].concat());
    assert!(!read.stderr.contains("[too-large]"), "{}", read.stderr);
    assert_ne!(read.code, Some(0), "blank lines are no labels");
}
