//! Made-to-order weight files.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clipway_formats::{Dtype, SafetensorsFile, SafetensorsLayout, TensorFile, TensorInfo, write_safetensors};
use clipway_model::architecture;
use clipway_model::registry;

use crate::scene::exported;

/// Tensors with their bytes.
pub struct Tensors(Vec<(TensorInfo, Vec<u8>)>);

impl Tensors {
    /// Returns the weights of the demo model in fp32.
    pub fn emoji() -> Tensors {
        let bytes = std::fs::read(exported().join("open_clip_model.safetensors")).expect("the weights");
        let file = SafetensorsFile::open(Arc::new(bytes)).expect("a safetensors file");
        let read = |(index, info): (usize, &TensorInfo)| {
            let mut bytes = Vec::new();
            file.read(index, &mut bytes).expect("a tensor");
            (info.clone(), bytes)
        };
        Tensors(file.tensors().iter().enumerate().map(read).collect())
    }

    fn place(&self, name: &str) -> usize {
        self.0.iter().position(|(info, _)| info.name == name).expect("a tensor of the demo model")
    }

    /// Sets one element of a tensor to `value`.
    pub fn set(mut self, name: &str, element: usize, value: f32) -> Tensors {
        let place = self.place(name);
        self.0[place].1[4 * element..4 * element + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    /// Sets every element of a tensor to `value`.
    pub fn fill(mut self, name: &str, value: f32) -> Tensors {
        let place = self.place(name);
        self.0[place].1.chunks_exact_mut(4).for_each(|bytes| bytes.copy_from_slice(&value.to_le_bytes()));
        self
    }

    /// Removes a tensor.
    pub fn without(mut self, name: &str) -> Tensors {
        let place = self.place(name);
        self.0.remove(place);
        self
    }

    /// Adds a tensor of zeros.
    pub fn with(mut self, name: &str, shape: &[usize]) -> Tensors {
        let info = TensorInfo { name: name.to_owned(), dtype: Dtype::F32, shape: shape.to_vec() };
        let bytes = vec![0; info.bytes()];
        self.0.push((info, bytes));
        self
    }

    /// Changes a tensor's shape, keeping the number of elements.
    pub fn reshaped(mut self, name: &str, shape: &[usize]) -> Tensors {
        let place = self.place(name);
        self.0[place].0.shape = shape.to_vec();
        self
    }

    /// Writes the tensors as safetensors.
    pub fn write(&self, path: &Path) {
        let infos: Vec<TensorInfo> = self.0.iter().map(|(info, _)| info.clone()).collect();
        let mut file = File::create(path).expect("a file in a temporary folder");
        write_safetensors(&mut file, &infos, &[], |index| Ok(&self.0[index].1)).expect("written weights");
    }
}

/// Writes weights with the names and shapes of a registered model, all zero in fp16, as a sparse file.
pub fn write_zeros(path: &Path, model: &str) {
    let config = registry::model(model).expect("a registered model");
    let model = architecture::build(&config).expect("a supported architecture");
    let infos: Vec<TensorInfo> = model
        .parameters
        .iter()
        .map(|(_, parameter)| TensorInfo {
            name: parameter.name.clone(),
            dtype: if parameter.dtype.is_float() { Dtype::F16 } else { parameter.dtype },
            shape: parameter.shape.clone(),
        })
        .collect();
    let layout = SafetensorsLayout::new(&infos, &[]).expect("a layout");
    let mut file = File::create(path).expect("a file in a temporary folder");
    file.write_all(layout.header_bytes()).expect("a header");
    file.set_len(layout.file_size()).expect("a file of holes");
}
