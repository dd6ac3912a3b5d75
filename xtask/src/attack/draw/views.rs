//! Views by deflation: a PyTorch archive that matches its config, whose tensors are views of a few storages.

use std::fs;

use super::archive::{Entry, archive};
use super::case::{Drawn, OUT, Stage, Verdict, words};
use crate::made;
use crate::random::Random;

/// Bytes that may inflate freely, and the factor by which all entries together may inflate (docs/security.md).
const FREE: usize = 32 << 20;
const TIMES: usize = 8;

/// The contents of the storages.
#[derive(Clone, Copy, Debug)]
enum Content {
    Zeros,
    Random,
    /// Mostly random; deflates to about a third.
    Third,
}

pub(super) fn draw(random: &mut Random, stage: &Stage<'_>) -> Result<Drawn, String> {
    let width = random.pick(&[64, 128, 192]);
    let config = format!(
        r#"{{"embed_dim": {width},
            "vision_cfg": {{"image_size": 32, "layers": {}, "width": {width}, "patch_size": 16}},
            "text_cfg": {{"context_length": 16, "vocab_size": 49408, "width": {width}, "heads": 2, "layers": 1}}}}"#,
        random.pick(&[1, 2, 12])
    );
    let infos = made::parameters(&config)?;
    let elements: Vec<usize> = infos.iter().map(|info| info.shape.iter().product()).collect();
    let content = random.pick(&[Content::Zeros, Content::Random, Content::Third]);
    let deflated = random.below(3) > 0;
    // Each tensor has its own storage, or all share one, or small ones share the storage of the largest.
    let sharing = random.below(3);
    let largest = elements.iter().copied().max().unwrap_or(0);
    let mut lengths: Vec<usize> = Vec::new();
    let mut places = Vec::new();
    for &count in &elements {
        if sharing == 0 || (sharing == 2 && count > largest / 4) || lengths.is_empty() {
            let length = if sharing == 0 { count } else { largest };
            places.push((lengths.len(), random.below(length - count + 1)));
            lengths.push(length);
        } else {
            let storage = random.below(lengths.len());
            places.push((storage, random.below(lengths[storage] - count + 1)));
        }
    }
    let storages: Vec<Vec<u8>> = lengths.iter().map(|&length| values(random, content, length)).collect();
    let mut pickle = b"\x80\x02}(".to_vec();
    for (info, &(storage, start)) in infos.iter().zip(&places) {
        pickle.extend(text(&info.name));
        pickle.extend(tensor(storage, lengths[storage], start, &info.shape));
    }
    pickle.extend(b"u.");
    let names: Vec<String> = (0..storages.len()).map(|key| format!("archive/data/{key}")).collect();
    let mut entries: Vec<Entry<'_>> = vec![("archive/data.pkl", &pickle, deflated)];
    entries.extend(names.iter().zip(&storages).map(|(name, bytes)| (&**name, &**bytes, deflated)));
    entries.push(("archive/version", b"3\n", false));
    let file = archive(&entries).map_err(|error| error.to_string())?;
    made::write_config(&stage.folder.join("f"), &config)?;
    let path = stage.folder.join("f/open_clip_pytorch_model.bin");
    fs::write(&path, &file).map_err(|error| made::shown(&path, error))?;

    let model: usize = 4 * elements.iter().sum::<usize>();
    let inflated: usize = 4 * lengths.iter().sum::<usize>();
    // The pickle is small compared with the storages; within a megabyte of the limit, either result is accepted.
    let most = FREE + TIMES * file.len();
    let expected = match deflated {
        true if inflated > most + (1 << 20) => Verdict::Refused(&["too-large"]),
        true if inflated + (1 << 20) > most => Verdict::Either,
        _ => Verdict::Done,
    };
    let detail = format!(
        "{} views of {} storages, {content:?}, {}, {} MB for a model of {} MB",
        infos.len(),
        lengths.len(),
        if deflated { "deflated" } else { "stored" },
        file.len() / 1_000_000,
        model / 1_000_000
    );
    let (model, inflated) = ((model / 1_000_000) as u64, (inflated / 1_000_000) as u64);
    Ok(Drawn {
        arguments: words(&format!("export f --out {OUT} --no-verify")),
        expected,
        seconds: 5,
        // Shared storages stay inflated.
        megabytes: 120 + 2 * model + inflated,
        disk: 2 + file.len() as u64 / 1_000_000 + model + model / 4,
        detail,
        ..Drawn::default()
    })
}

/// Returns finite values, which an export can hold.
fn values(random: &mut Random, content: Content, length: usize) -> Vec<u8> {
    let mut bytes = match content {
        Content::Zeros => return vec![0; 4 * length],
        Content::Random | Content::Third => random.bytes(4 * length),
    };
    for value in bytes.chunks_exact_mut(4) {
        value[3] = 0x3c;
        if matches!(content, Content::Third) {
            value[..2].fill(0);
        }
    }
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(value: usize) -> Vec<u8> {
    [b"J", &(value as i32).to_le_bytes()[..]].concat()
}

fn tuple(values: &[usize]) -> Vec<u8> {
    [&b"("[..], &values.iter().flat_map(|&value| int(value)).collect::<Vec<_>>(), b"t"].concat()
}

/// Encodes a tensor on storage `key` of `length` elements, starting at element `start`.
fn tensor(key: usize, length: usize, start: usize, shape: &[usize]) -> Vec<u8> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let storage = [
        b"(".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text(&key.to_string()),
        text("cpu"),
        int(length),
        b"tQ".to_vec(),
    ];
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n(";
    [&rebuild[..], &storage.concat(), &int(start), &tuple(shape), &tuple(&strides), b"\x89}tR"].concat()
}
