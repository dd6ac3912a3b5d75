//! The smallest file that holds one picture, which is what the decoder reads.

/// A file whose only item is the picture of a configuration, `hvcC`, and its data.
pub(super) fn container(configuration: &[u8], data: &[u8]) -> Vec<u8> {
    let mut file = boxed(b"ftyp", &[b"heic\0\0\0\0mif1heic"]);
    let meta = |start: u32| {
        let location = [&[0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1], &start.to_be_bytes()[..], &length(data)].concat();
        let properties = [boxed(b"ipco", &[&boxed(b"hvcC", &[configuration])]), association()].concat();
        boxed(
            b"meta",
            &[
                &[0; 4],
                &boxed(b"hdlr", &[b"\0\0\0\0\0\0\0\0pict", &[0; 13]]),
                &boxed(b"pitm", &[&[0, 0, 0, 0, 0, 1]]),
                &boxed(b"iloc", &[&[0; 4], &location]),
                &boxed(b"iinf", &[&[0, 0, 0, 0, 0, 1], &boxed(b"infe", &[b"\x02\0\0\0\0\x01\0\0hvc1\0"])]),
                &boxed(b"iprp", &[&properties]),
            ],
        )
    };
    let start = file.len() + meta(0).len() + 8;
    file.extend(meta(start as u32));
    file.extend(boxed(b"mdat", &[data]));
    file
}

/// The first item has the first property.
fn association() -> Vec<u8> {
    boxed(b"ipma", &[&[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0x81]])
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat()
}

fn length(data: &[u8]) -> [u8; 4] {
    (data.len() as u32).to_be_bytes()
}
