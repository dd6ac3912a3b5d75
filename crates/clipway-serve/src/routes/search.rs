//! `/v1/search`: the nearest images of the index to a sum of texts, images and rows.

use serde::Serialize;

use crate::app::{App, Call, Features, How, Reply, Times, Work};
use crate::error::RequestError;
use crate::gallery::{Gallery, GalleryFeature, GalleryTerm, Matches};
use crate::parse::{SearchFor, SearchRequest, SearchTerm, parse_search};

/// The answer.
#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    rows: u64,
    #[serde(flatten)]
    matches: Matches,
}

pub(super) async fn call(app: &App, call: Call) -> Result<Reply, RequestError> {
    app.shelf()?;
    let Call { body, held, .. } = call;
    let SearchRequest { terms, options } = app.parsed(body, parse_search).await?;
    let (mut inputs, mut known) = (Vec::new(), Vec::with_capacity(terms.len()));
    for SearchTerm { what, weight } in terms {
        let what = match what {
            SearchFor::Input(input) => {
                inputs.push(input);
                None
            }
            SearchFor::Row(row) => Some(GalleryFeature::Row(row)),
            SearchFor::Path(path) => Some(GalleryFeature::Path(path)),
        };
        known.push((what, weight));
    }
    let (mut times, mut truncated, mut features) = (Times::default(), 0, Vec::new());
    if !inputs.is_empty() {
        let encoded = app.embed(inputs, How::default()).await?;
        (times, truncated) = (encoded.times, encoded.truncated);
        features = encoded.whole()?;
    }
    drop(held);
    let mut features = features.into_iter();
    let terms = known.into_iter().map(|(what, weight)| {
        let what = what.unwrap_or_else(|| GalleryFeature::Given(features.next().unwrap_or_default()));
        GalleryTerm { what, weight }
    });
    let terms: Vec<GalleryTerm> = terms.collect();
    let search = move |gallery: &dyn Gallery| Ok((gallery.rows(), gallery.search(terms, &options)?));
    let (rows, matches) = app.on_shelf(Work::Search, search).await?;
    let answer = Answer { model: app.model.name(), rows, matches };
    Ok(Features::stamp(times, truncated, Reply::json(&answer)))
}
