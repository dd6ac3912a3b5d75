//! Graphs of strangers, up to the end of a run: what is refused by its sizes, by the runtime, and what it computes. An
//! even first byte is followed by a file, an odd one by the draw of a graph.
#![no_main]

use clipway_fuzz::{PIXELS, bounded, check_message, drawn_graph, let_libraries_panic};
use clipway_run::budget::Budget;
use clipway_run::onnx::{OnnxData, OnnxError, OnnxLengths, OnnxOutput, OnnxPort, OnnxSession};

/// What a graph may ask for: 4 MiB, which the fuzzer's own limit holds with all that the runtime needs beside.
const BUDGET: Budget = Budget { bytes: 2 << 20, multiplications: 10_000_000 };

/// Lengths of inputs that the file leaves open.
const LENGTHS: OnnxLengths = OnnxLengths { image: [8, 8], context: 8 };

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let_libraries_panic();
    let Some((kind, rest)) = input.split_first() else { return };
    let file = if kind % 2 == 0 { rest.to_vec() } else { drawn_graph(rest) };
    let ran = bounded(input.len(), || {
        let session = OnnxSession::from_bytes(file, LENGTHS, BUDGET)?;
        run(&session)
    });
    match ran {
        Ok(outputs) => {
            for output in outputs {
                assert_eq!(output.shape.iter().product::<usize>(), output.values.len(), "{}", output.name);
            }
        }
        Err(error) => check_message(&error),
    }
});

/// Runs a graph on ones.
fn run(session: &OnnxSession) -> Result<Vec<OnnxOutput>, OnnxError> {
    let given: Vec<(&OnnxPort, Vec<usize>)> =
        session.inputs().iter().map(|port| (port, shape_of(port))).collect();
    let ones = |port: &OnnxPort, count: usize| match port.integers {
        true => OnnxData::Integers(vec![1; count]),
        false => OnnxData::Floats(vec![1.0; count]),
    };
    let inputs: Vec<_> = given
        .iter()
        .map(|(port, shape)| (port.name.as_str(), shape.as_slice(), ones(port, shape.iter().product())))
        .collect();
    session.run(&inputs)
}

/// The shape that the sizes were checked with.
fn shape_of(port: &OnnxPort) -> Vec<usize> {
    let open = |at: usize| match (port.shape.len(), at) {
        (4, 2 | 3) => LENGTHS.image[0],
        (2, 1) => LENGTHS.context,
        (4, 1) => PIXELS[1],
        _ => 1,
    };
    port.shape.iter().enumerate().map(|(at, length)| length.unwrap_or_else(|| open(at))).collect()
}
