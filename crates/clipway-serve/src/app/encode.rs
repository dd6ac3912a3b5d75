//! From inputs to features: prepared on a bounded pool, then queued.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clipway_run::clip::Clip;
use clipway_run::encoder::normalize;
use tokio::sync::oneshot;

use super::images::{Decoding, Images};
use super::reply::{Reply, server_timing};
use super::state::App;
use crate::engine::{Encoded, EngineError, Held, Kind, Prepared, Wanted};
use crate::error::{InputCause, InputError, RequestError};
use crate::parse::{Input, ParseLimits};

/// The answer of the engine.
pub(super) type Answer = oneshot::Receiver<Result<Encoded, EngineError>>;

/// How to embed.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Whether features get length 1.
    pub normalize: bool,
    /// Whether a text that is longer than the context is truncated, instead of refused.
    pub truncate: bool,
}

impl Default for How {
    fn default() -> How {
        How { normalize: true, truncate: true }
    }
}

/// Longest times of an input: preparing, waiting, the batch, and the fetch.
pub(crate) type Times = [Duration; 4];

/// Features of the inputs of a request.
pub(crate) struct Features {
    /// Of each input, `[width]`, or why there is none.
    pub rows: Vec<Result<Vec<f32>, InputError>>,
    /// Of each input that is an image and was decoded, its width and height as stored.
    pub sizes: Vec<Option<[usize; 2]>>,
    /// Number of tokens of all texts.
    pub tokens: usize,
    /// Number of texts that were truncated.
    pub truncated: usize,
    /// Longest times of an input.
    pub times: Times,
}

impl Features {
    /// The features of all inputs.
    ///
    /// # Errors
    /// [`RequestError::Inputs`] if there is an input without.
    pub fn whole(self) -> Result<Vec<Vec<f32>>, RequestError> {
        let (mut rows, mut errors) = (Vec::with_capacity(self.rows.len()), Vec::new());
        for row in self.rows {
            match row {
                Ok(row) => rows.push(row),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(rows) } else { Err(RequestError::Inputs(errors)) }
    }

    /// An answer with the times of these features, and how many texts were truncated.
    pub fn stamp(times: Times, truncated: usize, reply: Reply) -> Reply {
        let [prepare, queue, infer, fetch] = times;
        let all = [("fetch", fetch), ("queue", queue), ("decode", prepare), ("infer", infer)];
        let timing = server_timing(if fetch.is_zero() { &all[1..] } else { &all });
        let reply = reply.with("server-timing", timing);
        match truncated {
            0 => reply,
            count => reply.with("x-clipway-truncated", count.to_string()),
        }
    }
}

/// What the inputs of a request need to be accepted.
fn wanted(inputs: &[Input], clip: &Clip) -> Wanted {
    let texts = inputs.iter().filter(|input| matches!(input, Input::Text(_))).count();
    let images = inputs.len() - texts;
    let bytes = images as u64 * pixel_bytes(clip) + texts as u64 * token_bytes(clip);
    Wanted { images, texts, bytes }
}

/// Bytes of the pixels of an image.
pub(crate) fn pixel_bytes(clip: &Clip) -> u64 {
    4 * clip.pixel_values() as u64
}

/// Bytes of the tokens of a text.
fn token_bytes(clip: &Clip) -> u64 {
    clip.text_input().map_or(0, |[context, _]| 8 * context as u64)
}

/// An input on its way.
enum Underway {
    /// An image that is fetched or decoded, with the place of its answer.
    Image(Decoding),
    /// A text that was tokenized.
    Text(Result<Answer, InputCause>),
}

impl App {
    /// Accepts and embeds the inputs of a request.
    pub async fn embed(&self, inputs: Vec<Input>, how: How) -> Result<Features, RequestError> {
        let held = self.engine.admit(wanted(&inputs, &self.clip))?;
        self.encode(inputs, how, held).await
    }

    /// Parses a body off the threads that serve connections.
    pub async fn parsed<R: Send + 'static>(
        &self,
        body: Vec<u8>,
        parse: impl FnOnce(&[u8], &ParseLimits) -> Result<R, RequestError> + Send + 'static,
    ) -> Result<R, RequestError> {
        let limits = Arc::clone(&self.parse);
        self.off_thread(move || parse(&body, &limits)).await?
    }

    /// Features of accepted inputs. Dropping the future cancels what is not done.
    pub async fn encode(
        &self,
        inputs: Vec<Input>,
        how: How,
        mut held: Held,
    ) -> Result<Features, RequestError> {
        let started = Instant::now();
        let (mut texts, mut images) = (Vec::new(), Images::new(self));
        let count = inputs.len();
        let mut underway: Vec<(usize, Underway)> = Vec::with_capacity(count);
        for (index, input) in inputs.into_iter().enumerate() {
            let mut place = || held.take(Kind::Image, pixel_bytes(&self.clip));
            let decoding = match input {
                Input::Text(text) => {
                    texts.push((index, text));
                    continue;
                }
                Input::Image(bytes) => images.decode(bytes, place()),
                Input::Remote(address) => images.fetch(address, place()),
            };
            underway.push((index, Underway::Image(decoding)));
        }
        let (mut tokens, mut truncated) = (0, 0);
        if !texts.is_empty() {
            let clip = Arc::clone(&self.clip);
            let tokenized = self.off_thread(move || tokenize(&clip, texts)).await?;
            for Tokenized { index, result, used, is_truncated } in tokenized {
                if is_truncated && !how.truncate {
                    let context = self.clip.text_input().map_or(0, |[context, _]| context);
                    return Err(RequestError::TooLong { index, context });
                }
                tokens += used;
                truncated += usize::from(is_truncated);
                let place = held.take(Kind::Text, token_bytes(&self.clip));
                let answer = result.map(|ids| self.engine.submit(Prepared::Tokens(ids), place));
                underway.push((index, Underway::Text(answer)));
            }
        }
        let prepared = if truncated + tokens > 0 { started.elapsed() } else { Duration::ZERO };
        let mut times = [prepared, Duration::ZERO, Duration::ZERO, Duration::ZERO];
        underway.sort_by_key(|(index, _)| *index);
        let (mut rows, mut sizes) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (index, one) in underway {
            let mut size = None;
            let row = finished(one, &mut size, &mut times).await.map(|mut row| {
                if how.normalize {
                    let width = row.len();
                    normalize(&mut row, width);
                }
                row
            });
            sizes.push(size);
            rows.push(row.map_err(|cause| InputError { index, cause }));
        }
        Ok(Features { rows, sizes, tokens, truncated, times })
    }

    /// Runs something that takes longer than a poll may, on the bounded pool of the runtime.
    ///
    /// # Errors
    /// A panic of what was run.
    pub async fn off_thread<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, RequestError> {
        tokio::task::spawn_blocking(work).await.map_err(|_| RequestError::Engine(EngineError::Panicked))
    }
}

/// The features of an input, and the times that it took.
async fn finished(
    underway: Underway,
    size: &mut Option<[usize; 2]>,
    times: &mut Times,
) -> Result<Vec<f32>, InputCause> {
    let answer = match underway {
        Underway::Text(answer) => answer?,
        Underway::Image(decoding) => {
            let decoded = decoding.await.map_err(|_| EngineError::Stopped)??;
            let [fetch, decode] = decoded.times;
            (times[0], times[3]) = (times[0].max(decode), times[3].max(fetch));
            *size = Some(decoded.size);
            decoded.answer
        }
    };
    let Encoded { features, queued, inference } = answer.await.map_err(|_| EngineError::Stopped)??;
    times[1] = times[1].max(queued);
    times[2] = times[2].max(inference);
    Ok(features)
}

/// A text's tokens.
struct Tokenized {
    index: usize,
    result: Result<Vec<i64>, InputCause>,
    used: usize,
    is_truncated: bool,
}

/// Tokenizes texts, each on its own: one that is refused leaves the others alone.
fn tokenize(clip: &Clip, texts: Vec<(usize, String)>) -> Vec<Tokenized> {
    let one = |(index, text): (usize, String)| match clip.tokens(&[text]) {
        Ok(encoded) => {
            let used = encoded.without_padding().iter().filter(|id| **id >= 0).count();
            Tokenized { index, used, is_truncated: encoded.truncated > 0, result: Ok(encoded.ids) }
        }
        Err(error) => {
            let result = Err(InputCause::Clip(Arc::new(error)));
            Tokenized { index, used: 0, is_truncated: false, result }
        }
    };
    texts.into_iter().map(one).collect()
}
