//! The index of a server, and the room for work on it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::state::App;
use crate::error::RequestError;
use crate::gallery::Gallery;

/// Searches at a time; the rest waits. One search reads at the speed of memory already.
const SEARCHES: usize = 2;

/// Thumbnails made at a time. One may take as much memory as the largest image that is allowed.
const THUMBNAILS: usize = 2;

/// Threads of the runtime's bounded pool that work on the index may take.
pub(crate) const SHELF_THREADS: usize = SEARCHES + THUMBNAILS;

/// The index of a server, and the room for work on it.
pub(crate) struct Shelf {
    pub gallery: Arc<dyn Gallery>,
    searches: Arc<Semaphore>,
    thumbnails: Arc<Semaphore>,
}

/// What is done with the index.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Search,
    Thumbnail,
}

impl Shelf {
    /// An index that nobody works on yet.
    pub fn new(gallery: Arc<dyn Gallery>) -> Shelf {
        let room = |count| Arc::new(Semaphore::new(count));
        Shelf { gallery, searches: room(SEARCHES), thumbnails: room(THUMBNAILS) }
    }
}

impl App {
    /// The index.
    ///
    /// # Errors
    /// [`RequestError::NoIndex`].
    pub fn shelf(&self) -> Result<&Shelf, RequestError> {
        self.shelf.as_ref().ok_or(RequestError::NoIndex)
    }

    /// Works on the index on the bounded pool, as soon as there is room. Dropping the future before gives up the wait; work
    /// that has begun is finished, and keeps its room until then.
    ///
    /// # Errors
    /// No index, the error of the work, and a panic.
    pub async fn on_shelf<R: Send + 'static>(
        &self,
        work: Work,
        run: impl FnOnce(&dyn Gallery) -> Result<R, RequestError> + Send + 'static,
    ) -> Result<R, RequestError> {
        let shelf = self.shelf()?;
        let room = if work == Work::Search { &shelf.searches } else { &shelf.thumbnails };
        let place = Arc::clone(room).acquire_owned().await.map_err(|_| RequestError::NoIndex)?;
        let gallery = Arc::clone(&shelf.gallery);
        self.off_thread(move || {
            let _place = place;
            run(&*gallery)
        })
        .await?
    }
}
