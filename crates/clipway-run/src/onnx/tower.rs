//! A tower that a file of ONNX computes, behind the seam of the backends.

use std::fmt;

use clipway_model::config::TextConfig;
use clipway_model::plan::Towers;

use super::failure::OnnxError;
use super::graph::{BLOCK, OnnxTowerPorts};
use super::port::{OnnxData, OnnxOutput};
use super::session::OnnxSession;
use super::watch::HalfValue;
use crate::tower::{Intermediate, Tower, TowerBatch, TowerDescription, TowerError, TowerInput};

/// Samples of the runs, in turn: a graph that is right for one batch alone is found out.
const BATCHES: [usize; 3] = [1, 2, 7];

/// Values that one run gives, so that a large graph's are not in memory at once.
const WATCHED_VALUES: usize = 96;

/// How bytes were made of normalized pixels: mean and standard deviation of each color.
pub type Colors = ([f64; 3], [f64; 3]);

/// A tower of a file of ONNX.
pub struct OnnxTower {
    session: OnnxSession,
    ports: OnnxTowerPorts,
    input: TowerInput,
    width: usize,
    colors: Colors,
    /// The id of padding, for graphs that take a mask.
    padding: Option<i64>,
}

impl OnnxTower {
    /// Takes a session as the tower with these ports; `size` is that of images where the graph leaves it open, and
    /// `text` says the same of texts. `padding` is the id of tokens that a mask hides.
    ///
    /// # Errors
    /// A graph that gives no features of one width.
    pub fn new(
        session: OnnxSession,
        ports: &OnnxTowerPorts,
        size: [usize; 2],
        text: &TextConfig,
        padding: Option<i64>,
    ) -> Result<OnnxTower, OnnxError> {
        let input = match ports.tower {
            Towers::Text => {
                let context = ports.fixed(1).unwrap_or(text.context_length);
                let least = if ports.fixed(1).is_some() { context } else { 1 };
                TowerInput::Tokens { least, context, vocabulary: text.vocab_size }
            }
            _ => {
                let [height, width] = ports.image_size().unwrap_or(size);
                TowerInput::Pixels { height, width }
            }
        };
        let colors = ([0.0; 3], [1.0; 3]);
        let mut tower = OnnxTower { session, ports: ports.clone(), input, width: 0, colors, padding };
        tower.width = tower.measured_width()?;
        Ok(tower)
    }

    /// The same with colors by which bytes were normalized, for a graph that takes bytes.
    pub fn with_colors(mut self, mean: [f64; 3], std: [f64; 3]) -> OnnxTower {
        self.colors = (mean, std);
        self
    }

    /// Width of the features of one sample of zeros.
    fn measured_width(&self) -> Result<usize, OnnxError> {
        let outputs = match self.input {
            TowerInput::Pixels { height, width } => {
                self.outputs(&TowerBatch::Pixels(&vec![0.0; 3 * height * width]), 0, 1, &[])
            }
            TowerInput::Grids { side, .. } => {
                self.outputs(&TowerBatch::Pixels(&vec![0.0; 3 * side * side]), 0, 1, &[])
            }
            TowerInput::Tokens { context: length, .. } => {
                self.outputs(&TowerBatch::Tokens { ids: &vec![0; length], length }, 0, 1, &[])
            }
        }?;
        match outputs[0].shape[..] {
            [_, width] => Ok(width),
            ref shape => Err(OnnxError::Output {
                name: outputs[0].name.clone(),
                expected: "[batch, width]".to_owned(),
                found: format!("{shape:?}"),
            }),
        }
    }

    /// Runs some samples, filled up with the last one where the graph has a fixed batch: the features, then `blocks`.
    fn outputs(
        &self,
        batch: &TowerBatch<'_>,
        first: usize,
        count: usize,
        blocks: &[String],
    ) -> Result<Vec<OnnxOutput>, OnnxError> {
        let name = self.ports.input.name.as_str();
        let size = self.ports.fixed(0).unwrap_or(count);
        let rows = (0..size).map(|row| first + row.min(count - 1));
        let mut inputs = Vec::with_capacity(2);
        match (batch, self.input) {
            (TowerBatch::Pixels(pixels), TowerInput::Pixels { height, width }) => {
                let values = 3 * height * width;
                let images = rows.map(|row| &pixels[row * values..(row + 1) * values]);
                if self.ports.takes_bytes() {
                    let bytes =
                        images.flat_map(|image| bytes_of(image, height * width, self.colors)).collect();
                    inputs.push((name, vec![size, height, width, 3], OnnxData::Bytes(bytes)));
                } else {
                    let floats = images.flatten().copied().collect();
                    inputs.push((name, vec![size, 3, height, width], OnnxData::Floats(floats)));
                }
            }
            (TowerBatch::Tokens { ids, length }, TowerInput::Tokens { .. }) => {
                let ids: Vec<i64> =
                    rows.flat_map(|row| &ids[row * length..(row + 1) * length]).copied().collect();
                if let Some(mask) = &self.ports.mask {
                    let seen = ids.iter().map(|id| i64::from(self.padding != Some(*id))).collect();
                    inputs.push((mask.as_str(), vec![size, *length], OnnxData::Integers(seen)));
                }
                inputs.push((name, vec![size, *length], OnnxData::Integers(ids)));
            }
            (_, expected) => {
                let expected = format!("the inputs of an {} tower", expected.tower());
                let found = "the other tower's".to_owned();
                return Err(OnnxError::Input { name: name.to_owned(), expected, found });
            }
        }
        let inputs: Vec<(&str, &[usize], OnnxData)> =
            inputs.iter().map(|(name, shape, data)| (*name, shape.as_slice(), data.clone())).collect();
        let names: Vec<&str> =
            std::iter::once(&self.ports.output.name).chain(blocks).map(String::as_str).collect();
        self.session.run_for(&inputs, &names)
    }

    /// The largest of some values over a batch, or as much of it as a graph of a fixed batch takes, as an absolute value; infinite for a NaN.
    pub(super) fn largest<'v>(
        &self,
        values: &'v [HalfValue],
        batch: &TowerBatch<'_>,
    ) -> Result<Option<(&'v HalfValue, f32)>, OnnxError> {
        let samples: usize = self.parts(batch).iter().map(|(_, count)| count).sum();
        let size = self.ports.fixed(0).unwrap_or(samples).min(samples);
        let mut found: Option<(&HalfValue, f32)> = None;
        if size == 0 {
            return Ok(found);
        }
        // A graph of both towers has values that need the other tower's input.
        let given = |name: &String| *name == self.ports.input.name || self.ports.mask.as_ref() == Some(name);
        let own: Vec<&HalfValue> = values.iter().filter(|value| value.needs.iter().all(given)).collect();
        for group in own.chunks(WATCHED_VALUES) {
            let names: Vec<String> = group.iter().map(|value| value.name.clone()).collect();
            let outputs = self.outputs(batch, 0, size, &names)?;
            for (value, output) in group.iter().zip(outputs.into_iter().skip(1)) {
                let magnitude = |number: &f32| if number.is_nan() { f32::INFINITY } else { number.abs() };
                let largest = output.values.iter().map(magnitude).fold(0.0, f32::max);
                if found.is_none_or(|(_, most)| largest > most) {
                    found = Some((value, largest));
                }
            }
        }
        Ok(found)
    }

    /// The parts of a batch, each of which is run at once: first sample and number of samples.
    fn parts(&self, batch: &TowerBatch<'_>) -> Vec<(usize, usize)> {
        let samples = match (batch, self.input) {
            (TowerBatch::Pixels(pixels), TowerInput::Pixels { height, width }) => {
                pixels.len() / (3 * height * width).max(1)
            }
            (TowerBatch::Tokens { ids, length }, _) => ids.len() / (*length).max(1),
            _ => 1,
        };
        let fixed = self.ports.fixed(0);
        let mut parts = Vec::new();
        let mut first = 0;
        for size in BATCHES.into_iter().cycle().map(|size| fixed.unwrap_or(size)) {
            if first >= samples {
                break;
            }
            let count = size.min(samples - first);
            parts.push((first, count));
            first += count;
        }
        parts
    }
}

impl Tower for OnnxTower {
    fn describe(&self) -> TowerDescription {
        TowerDescription {
            input: self.input,
            width: self.width,
            backend: self.session.runtime().describe(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    fn features(&self, batch: TowerBatch<'_>) -> Result<Vec<f32>, TowerError> {
        let mut features = Vec::new();
        for (first, count) in self.parts(&batch) {
            let outputs = self.outputs(&batch, first, count, &[]);
            let output = outputs.and_then(|outputs| self.checked(outputs, count));
            features.extend(output.map_err(|error| TowerError::new(error.code(), error))?);
        }
        Ok(features)
    }

    fn intermediates(&self, batch: TowerBatch<'_>) -> Result<Vec<Intermediate>, TowerError> {
        let mut found: Vec<Intermediate> = Vec::new();
        if self.ports.blocks.is_empty() {
            return Ok(found);
        }
        for (first, count) in self.parts(&batch) {
            let outputs = self.outputs(&batch, first, count, &self.ports.blocks);
            let outputs = outputs.map_err(|error| TowerError::new(error.code(), error))?;
            for (index, output) in outputs.into_iter().skip(1).enumerate() {
                let block = intermediate(output, count);
                match found.get_mut(index) {
                    Some(known) => known.values.extend(block.values),
                    None => found.push(block),
                }
            }
        }
        Ok(found)
    }
}

impl OnnxTower {
    /// The features of the samples that were asked for, of the right shape.
    fn checked(&self, outputs: Vec<OnnxOutput>, count: usize) -> Result<Vec<f32>, OnnxError> {
        let size = self.ports.fixed(0).unwrap_or(count);
        let Some(output) = outputs.into_iter().next() else {
            return Err(OnnxError::Missing { what: format!("output `{}`", self.ports.output.name) });
        };
        if output.shape != [size, self.width] {
            return Err(OnnxError::Output {
                name: output.name,
                expected: format!("[{size}, {}]", self.width),
                found: format!("{:?}", output.shape),
            });
        }
        let mut values = output.values;
        values.truncate(count * self.width);
        Ok(values)
    }
}

/// The output of a block for `count` samples; a map has one row for each place.
fn intermediate(output: OnnxOutput, count: usize) -> Intermediate {
    let name = output.name.strip_prefix(BLOCK).unwrap_or(&output.name).to_owned();
    let sample = output.shape.iter().skip(1).product::<usize>();
    let values = &output.values[..(count * sample).min(output.values.len())];
    match output.shape[..] {
        [_, channels, height, width] => {
            let places = height * width;
            let at =
                |sample: usize, place: usize, channel: usize| (sample * channels + channel) * places + place;
            let rows = (0..count).flat_map(|sample| (0..places).map(move |place| (sample, place)));
            let values = rows.flat_map(|(sample, place)| {
                (0..channels).map(move |channel| values[at(sample, place, channel)])
            });
            Intermediate { name, values: values.collect(), width: channels }
        }
        _ => Intermediate { name, values: values.to_vec(), width: output.shape.last().copied().unwrap_or(1) },
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
        write!(
            f,
            "OnnxTower({:?} to {} values by {})",
            self.input,
            self.width,
            self.session.runtime().describe()
        )
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
