//! Images on their way to the queue: fetched if they lie elsewhere, and decoded on the bounded pool.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clipway_fetch::Address;
use clipway_run::clip::Clip;
use clipway_run::image::{DecodeLimits, ImageError, decode, to_pixels, transform};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::encode::Answer;
use super::state::App;
use crate::engine::{Engine, EngineError, Held, Prepared};
use crate::error::InputCause;
use crate::metrics::Metrics;

/// Images of one request that are fetched at a time: other requests get a turn.
const FETCHES: usize = 8;

/// An image that was decoded and queued.
pub(super) struct Decoded {
    pub answer: Answer,
    /// Width and height as stored.
    pub size: [usize; 2],
    /// Time of the fetch, if it was fetched, and of decoding.
    pub times: [Duration; 2],
}

/// An image that is decoded later.
pub(super) type Decoding = oneshot::Receiver<Result<Decoded, InputCause>>;

/// The bytes of an image file, and the room that they take until they are decoded.
struct File {
    bytes: Vec<u8>,
    room: Option<Held>,
    /// Time of the fetch.
    time: Duration,
}

/// What decodes the images of a request. Dropping it ends its fetches.
pub(super) struct Images<'a> {
    app: &'a App,
    fetching: JoinSet<()>,
    turns: Arc<Semaphore>,
}

impl<'a> Images<'a> {
    pub fn new(app: &'a App) -> Images<'a> {
        Images { app, fetching: JoinSet::new(), turns: Arc::new(Semaphore::new(FETCHES)) }
    }

    /// Decodes a file and queues it.
    pub fn decode(&self, bytes: Vec<u8>, place: Held) -> Decoding {
        let (done, decoding) = oneshot::channel();
        Decoder::of(self.app).start(File { bytes, room: None, time: Duration::ZERO }, place, done);
        decoding
    }

    /// Fetches a file, decodes it and queues it.
    pub fn fetch(&mut self, address: Address, place: Held) -> Decoding {
        let (done, decoding) = oneshot::channel();
        // Without a fetcher no address is parsed.
        if let Some(fetcher) = self.app.fetcher.clone() {
            let (decoder, turns) = (Decoder::of(self.app), Arc::clone(&self.turns));
            self.fetching.spawn(async move {
                let Ok(_turn) = turns.acquire_owned().await else { return };
                // The turn may be that of another fetch of a request that is gone.
                if done.is_closed() {
                    return;
                }
                let mut room = place.empty();
                let mut fetch =
                    Fetch { metrics: &decoder.metrics, started: Instant::now(), result: "cancelled" };
                let fetched = fetcher.fetch(address, |bytes| room.grow(bytes).is_ok()).await;
                fetch.result = fetched.as_ref().map_or_else(|error| error.code(), |_| "fetched");
                let time = fetch.started.elapsed();
                drop(fetch);
                match fetched {
                    Ok(bytes) => decoder.start(File { bytes, room: Some(room), time }, place, done),
                    Err(error) => drop(done.send(Err(InputCause::Fetch(error)))),
                }
            });
        }
        decoding
    }
}

/// Counts a fetch when it ends, in whichever way.
struct Fetch<'a> {
    metrics: &'a Metrics,
    started: Instant,
    result: &'static str,
}

impl Drop for Fetch<'_> {
    fn drop(&mut self) {
        self.metrics.fetched(self.result, self.started.elapsed());
    }
}

/// What decoding needs.
struct Decoder {
    clip: Arc<Clip>,
    engine: Engine,
    metrics: Arc<Metrics>,
    limits: DecodeLimits,
}

impl Decoder {
    fn of(app: &App) -> Decoder {
        Decoder {
            clip: Arc::clone(&app.clip),
            engine: app.engine.clone(),
            metrics: Arc::clone(&app.metrics),
            limits: DecodeLimits { max_pixels: app.limits.max_pixels },
        }
    }

    /// Decodes a file on the pool and queues it there, unless its client is gone by then.
    fn start(self, file: File, place: Held, done: oneshot::Sender<Result<Decoded, InputCause>>) {
        let Decoder { clip, engine, metrics, limits } = self;
        rayon::spawn(move || {
            if done.is_closed() {
                return metrics.cancelled(1);
            }
            let started = Instant::now();
            let File { bytes, room, time: fetched } = file;
            let decoded = catch_unwind(AssertUnwindSafe(|| -> Result<_, ImageError> {
                let image = decode(&bytes, &limits)?;
                let mut pixels = vec![0.0; clip.pixel_values()];
                to_pixels(&transform(&image, clip.preprocess())?, clip.preprocess(), &mut pixels)?;
                Ok((pixels, [image.width, image.height]))
            }));
            drop((bytes, room));
            let time = started.elapsed();
            metrics.decoded(time);
            let result = match decoded {
                Ok(Ok((pixels, size))) => {
                    let answer = engine.submit(Prepared::Pixels(pixels), place);
                    Ok(Decoded { answer, size, times: [fetched, time] })
                }
                Ok(Err(error)) => Err(InputCause::Image(error)),
                Err(_) => Err(InputCause::Engine(EngineError::Panicked)),
            };
            let _ = done.send(result);
        });
    }
}
