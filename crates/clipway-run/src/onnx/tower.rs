//! A tower that a file of ONNX computes, behind the seam of the backends.

use std::fmt;

use super::session::{OnnxData, OnnxError, OnnxSession, RUNTIME};
use crate::tower::{Intermediate, Tower, TowerBatch, TowerDescription, TowerError, TowerInput};

/// Samples of the runs, in turn: a graph that is right for one batch alone is found out.
const BATCHES: [usize; 3] = [1, 2, 7];

/// How bytes were made of normalized pixels: mean and standard deviation of each color.
pub type Colors = ([f64; 3], [f64; 3]);

/// A tower of a file of ONNX.
pub struct OnnxTower {
    session: OnnxSession,
    input: TowerInput,
    width: usize,
    colors: Option<Colors>,
}

impl OnnxTower {
    /// Takes a session as a tower that takes `input`; where the graph takes bytes, they are made of the pixels by
    /// `colors`.
    ///
    /// # Errors
    /// A graph without inputs or outputs.
    pub fn new(
        session: OnnxSession,
        input: TowerInput,
        width: usize,
        colors: Option<Colors>,
    ) -> Result<OnnxTower, OnnxError> {
        for (what, ports) in [("input", session.inputs()), ("output", session.outputs())] {
            if ports.is_empty() {
                return Err(OnnxError::Missing { what: what.to_owned() });
            }
        }
        Ok(OnnxTower { session, input, width, colors })
    }

    /// Runs so many samples, filled up with the last one to `size`, and appends their features.
    fn run(
        &self,
        batch: &TowerBatch<'_>,
        first: usize,
        count: usize,
        size: usize,
        features: &mut Vec<f32>,
    ) -> Result<(), OnnxError> {
        let port = &self.session.inputs()[0];
        let rows = (0..size).map(|row| first + row.min(count - 1));
        let (shape, data) = match (batch, self.input) {
            (TowerBatch::Pixels(pixels), TowerInput::Pixels { height, width }) => {
                let values = 3 * height * width;
                let images = rows.map(|row| &pixels[row * values..(row + 1) * values]);
                match self.colors {
                    None => {
                        (vec![size, 3, height, width], OnnxData::Floats(images.flatten().copied().collect()))
                    }
                    Some(colors) => {
                        let bytes =
                            images.flat_map(|image| bytes_of(image, height * width, colors)).collect();
                        (vec![size, height, width, 3], OnnxData::Bytes(bytes))
                    }
                }
            }
            (TowerBatch::Tokens { ids, length }, _) => {
                let ids = rows.flat_map(|row| &ids[row * length..(row + 1) * length]).copied().collect();
                (vec![size, *length], OnnxData::Integers(ids))
            }
            (TowerBatch::Pixels(_), TowerInput::Tokens { .. }) => {
                let (expected, found) = ("token ids".to_owned(), "pixels".to_owned());
                return Err(OnnxError::Input { name: port.name.clone(), expected, found });
            }
        };
        let outputs = self.session.run(&[(&port.name, &shape, data)])?;
        let output = &outputs[0];
        if output.shape != [size, self.width] {
            let cause = format!("`{}` is {:?}, not [{size}, {}]", output.name, output.shape, self.width);
            return Err(OnnxError::Run { cause });
        }
        features.extend_from_slice(&output.values[..count * self.width]);
        Ok(())
    }
}

impl Tower for OnnxTower {
    fn describe(&self) -> TowerDescription {
        TowerDescription {
            input: self.input,
            width: self.width,
            backend: RUNTIME.to_owned(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    fn features(&self, batch: TowerBatch<'_>) -> Result<Vec<f32>, TowerError> {
        let samples = match (batch, self.input) {
            (TowerBatch::Pixels(pixels), TowerInput::Pixels { height, width }) => {
                pixels.len() / (3 * height * width).max(1)
            }
            (TowerBatch::Tokens { ids, length }, _) => ids.len() / length.max(1),
            _ => 1,
        };
        let fixed = self.session.inputs()[0].shape.first().copied().flatten();
        let sizes = BATCHES.into_iter().cycle().map(|size| fixed.unwrap_or(size));
        let mut features = Vec::with_capacity(samples * self.width);
        let mut first = 0;
        for size in sizes {
            if first >= samples {
                break;
            }
            let count = size.min(samples - first);
            let run = self.run(&batch, first, count, size, &mut features);
            run.map_err(|error| TowerError::new(error.code(), error))?;
            first += count;
        }
        Ok(features)
    }

    fn intermediates(&self, _: TowerBatch<'_>) -> Result<Vec<Intermediate>, TowerError> {
        Ok(Vec::new())
    }
}

/// The bytes that normalized pixels `[3, places]` were made of, as `[places, 3]`.
fn bytes_of(image: &[f32], places: usize, (mean, std): Colors) -> Vec<u8> {
    let byte = |place: usize, color: usize| {
        let value = f64::from(image[color * places + place]) * std[color] + mean[color];
        (value * 255.0).round() as u8
    };
    (0..places).flat_map(|place| (0..3).map(move |color| byte(place, color))).collect()
}

impl fmt::Debug for OnnxTower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnnxTower({:?} to {} values by {})", self.input, self.width, RUNTIME)
    }
}

#[cfg(test)]
mod tests {
    use super::bytes_of;

    #[test]
    fn bytes_come_back() {
        let (mean, std) = ([0.48, 0.46, 0.41], [0.27, 0.26, 0.28]);
        let bytes: Vec<u8> = (0..=255).flat_map(|byte: u8| [byte, byte / 2, 255 - byte]).collect();
        let pixel = |color: usize, byte: u8| ((f64::from(byte) / 255.0 - mean[color]) / std[color]) as f32;
        let image: Vec<f32> = (0..3)
            .flat_map(|color| bytes.chunks(3).map(move |rgb| (color, rgb[color])))
            .map(|(color, byte)| pixel(color, byte))
            .collect();
        assert_eq!(bytes_of(&image, 256, (mean, std)), bytes);
    }
}
