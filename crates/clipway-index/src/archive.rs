//! Images in tar archives, as webdataset and img2dataset lay them out: `KEY.jpg`, with `KEY.txt` and `KEY.json` beside it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use clipway_formats::tar_members;
use clipway_model::input::{self, Kind};
use clipway_run::image::NamedAs;

use crate::found::{CaptionPlace, Found, Member};

/// The end of a caption's name.
const CAPTION: &str = "txt";

/// The images of an archive, with the places of their captions, and the number of those in formats that cannot be read. Of two
/// members with one name the last one counts, as when it is unpacked.
///
/// # Errors
/// Why the archive cannot be read.
pub(crate) fn images(
    path: &Path,
    size: u64,
    modified_ns: i64,
    is_left_out: impl Fn(&str) -> bool,
) -> Result<(Vec<Found>, BTreeMap<String, u64>), String> {
    let file = input::open(path, Kind::Archive).map_err(|error| error.why())?;
    let members = tar_members(&file).map_err(|error| error.to_string())?;
    file.check_unchanged().map_err(|error| error.why())?;
    let archive: Arc<Path> = path.into();
    let mut images: Vec<Found> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut captions: HashMap<String, CaptionPlace> = HashMap::new();
    let mut unsupported = BTreeMap::new();
    for member in members {
        match NamedAs::of(Path::new(&member.name)) {
            _ if is_left_out(&member.name) => continue,
            NamedAs::Other => {
                if let Some((key, end)) = key_and_end(&member.name)
                    && end.eq_ignore_ascii_case(CAPTION)
                {
                    captions.insert(key.to_owned(), CaptionPlace { start: member.start, size: member.size });
                }
                continue;
            }
            NamedAs::Unsupported(end) => {
                *unsupported.entry(end.to_owned()).or_default() += 1;
                continue;
            }
            NamedAs::Image => {}
        }
        let found = Found {
            path: path.join(&member.name),
            size: member.size,
            modified_ns,
            member: Some(Member {
                archive: Arc::clone(&archive),
                archive_size: size,
                start: member.start,
                caption: None,
            }),
        };
        match places.get(&member.name) {
            Some(&place) => images[place] = found,
            None => {
                places.insert(member.name, images.len());
                images.push(found);
            }
        }
    }
    for (name, place) in &places {
        if let (Some((key, _)), Some(member)) = (key_and_end(name), &mut images[*place].member) {
            member.caption = captions.get(key).copied();
        }
    }
    Ok((images, unsupported))
}

/// A member's key and the end of its name, as webdataset has them: the end begins after the first dot of the name within its
/// folder.
fn key_and_end(name: &str) -> Option<(&str, &str)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.')?;
    Some((&name[..dot], &name[dot + 1..]))
}
