//! Places in the queue, freed when their owner is dropped.

use std::sync::Arc;

use super::model::Kind;
use super::outcome::Refused;
use super::shared::Shared;

/// Accepted inputs and the bytes that they hold. Dropping it frees them: when they are done, refused, or their client is
/// gone.
pub struct Held {
    pub(super) shared: Arc<Shared>,
    pub(super) images: usize,
    pub(super) texts: usize,
    pub(super) bytes: u64,
}

impl Held {
    /// Takes one input of a kind with its bytes out of this; with nothing left of that kind, what is taken is empty.
    pub fn take(&mut self, kind: Kind, bytes: u64) -> Held {
        let count = match kind {
            Kind::Image => &mut self.images,
            Kind::Text => &mut self.texts,
        };
        let one = (*count).min(1);
        *count -= one;
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let (images, texts) = if kind == Kind::Image { (one, 0) } else { (0, one) };
        Held { shared: Arc::clone(&self.shared), images, texts, bytes }
    }

    /// A place of nothing in the same queue, which may grow.
    pub fn empty(&self) -> Held {
        Held { shared: Arc::clone(&self.shared), images: 0, texts: 0, bytes: 0 }
    }

    /// Holds more bytes, as they arrive: what a client only announces takes no room.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn grow(&mut self, bytes: u64) -> Result<(), Refused> {
        let limit = self.shared.limits.queue_bytes;
        self.shared.lock().hold_bytes(bytes, limit)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.images + self.texts == 0 && self.bytes == 0 {
            return;
        }
        let mut state = self.shared.lock();
        state.images.admitted -= self.images;
        state.texts.admitted -= self.texts;
        state.bytes -= self.bytes;
        drop(state);
        self.shared.room.notify_waiters();
    }
}
