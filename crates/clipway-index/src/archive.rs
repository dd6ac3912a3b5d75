//! Images in tar archives, as webdataset and img2dataset lay them out: `KEY.jpg`, with `KEY.txt` and `KEY.json` beside it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use clipway_formats::tar_members;
use clipway_model::input::{self, Kind};
use clipway_run::image::NamedAs;

use crate::found::{Found, Member};

/// The images of an archive, and the number of those in formats that cannot be read. Of two members with one name the
/// last one counts, as when it is unpacked.
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
    let mut unsupported = BTreeMap::new();
    for member in members {
        match NamedAs::of(Path::new(&member.name)) {
            _ if is_left_out(&member.name) => continue,
            NamedAs::Other => continue,
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
            member: Some(Member { archive: Arc::clone(&archive), archive_size: size, start: member.start }),
        };
        match places.get(&member.name) {
            Some(&place) => images[place] = found,
            None => {
                places.insert(member.name, images.len());
                images.push(found);
            }
        }
    }
    Ok((images, unsupported))
}
