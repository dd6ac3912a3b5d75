//! The self-test: the same inputs must give the same features as when the server started.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clipway_run::clip::ClipError;
use clipway_run::verify::cosine;

use super::model::{Kind, Model, Prepared, together};

/// Time between two runs, if the engine is idle.
const EVERY: Duration = Duration::from_secs(60);

/// Smallest cosine between a run's features and the first ones. A row does not depend on its batch, so they are equal
/// unless something is broken.
const COSINE: f64 = 0.999_999;

/// Inputs with the features that they gave first, and the last run's result.
pub(super) struct SelfTest {
    samples: Vec<(Prepared, Vec<f32>)>,
    last: Mutex<(Instant, Result<(), String>)>,
}

impl SelfTest {
    /// Runs each kind of input that the model takes, and returns how long one takes.
    ///
    /// # Errors
    /// An input whose feature is not finite.
    pub fn first(model: &dyn Model) -> Result<(SelfTest, Vec<(Kind, Duration)>), ClipError> {
        let (mut samples, mut times) = (Vec::new(), Vec::new());
        for input in Kind::ALL.into_iter().filter_map(|kind| model.sample(kind)) {
            let features = together(model, &[&input])?;
            // The first run also fills caches; the second is what one takes.
            let started = Instant::now();
            together(model, &[&input])?;
            times.push((input.kind(), started.elapsed()));
            samples.push((input, features));
        }
        Ok((SelfTest { samples, last: Mutex::new((Instant::now(), Ok(()))) }, times))
    }

    fn last(&self) -> MutexGuard<'_, (Instant, Result<(), String>)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last run is long ago.
    pub fn is_due(&self) -> bool {
        self.last().0.elapsed() > EVERY
    }

    /// Runs the inputs again.
    pub fn run(&self, model: &dyn Model) {
        let result = self.samples.iter().try_for_each(|(input, first)| {
            let name = input.kind().name();
            let found = together(model, &[input]).map_err(|error| format!("{name}: {error}"))?;
            match cosine(&found, first) {
                equal if equal >= COSINE => Ok(()),
                other => Err(format!("{name}: the cosine with the first result is {other:.6}")),
            }
        });
        *self.last() = (Instant::now(), result);
    }

    /// What was wrong in the last run.
    pub fn failure(&self) -> Option<String> {
        self.last().1.clone().err()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A model that can break.
    struct Breakable(AtomicBool);

    impl Model for Breakable {
        fn width(&self) -> usize {
            2
        }

        fn images(&self, pixels: &[f32]) -> Result<Vec<f32>, ClipError> {
            Ok(if self.0.load(Ordering::SeqCst) { vec![pixels[1], pixels[0]] } else { pixels.to_vec() })
        }

        fn texts(&self, _: &[i64]) -> Result<Vec<f32>, ClipError> {
            Err(ClipError::NoTokenizer { name: None })
        }

        fn sample(&self, kind: Kind) -> Option<Prepared> {
            (kind == Kind::Image).then(|| Prepared::Pixels(vec![1.0, 2.0]))
        }
    }

    #[test]
    fn other_features_than_at_first_are_a_failure() {
        let model = Breakable(AtomicBool::new(false));
        let (test, times) = SelfTest::first(&model).unwrap();
        assert_eq!(times.len(), 1);
        assert!(!test.is_due());
        test.run(&model);
        assert_eq!(test.failure(), None);
        model.0.store(true, Ordering::SeqCst);
        test.run(&model);
        assert_eq!(test.failure().as_deref(), Some("image: the cosine with the first result is 0.800000"));
        model.0.store(false, Ordering::SeqCst);
        test.run(&model);
        assert_eq!(test.failure(), None);
    }
}
