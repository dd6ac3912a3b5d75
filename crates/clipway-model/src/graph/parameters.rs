//! The tensors that an architecture needs.

use std::collections::HashMap;

use clipway_formats::Dtype;

use super::fold::Fold;

/// A parameter of a model: its index in [`Parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParameterId(pub(crate) u32);

impl ParameterId {
    /// Index in declaration order.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether PyTorch stores a tensor as a parameter or a buffer: a module's parameters come first in its state dict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Trained.
    Parameter,
    /// Kept beside the parameters, such as running statistics.
    Buffer,
}

/// Name, shape and dtype of a tensor that an architecture needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Name in open_clip's state dict.
    pub name: String,
    /// Shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Dtype in an f32 model.
    pub dtype: Dtype,
    /// Parameter or buffer.
    pub role: Role,
}

impl Parameter {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape of a matrix without the leading 1 that timm stores with its tables. A table with one row for each place
    /// of a grid, `[1, height, width, channels]`, is one of `height · width` rows.
    pub fn matrix_shape(&self) -> Vec<usize> {
        match *self.shape.as_slice() {
            [1, rows, width] => vec![rows, width],
            [1, height, width, channels] => vec![height * width, channels],
            ref shape => shape.to_vec(),
        }
    }
}

/// Everything that a model's checkpoint must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    list: Vec<Parameter>,
    folds: Vec<Fold>,
    by_name: HashMap<String, ParameterId>,
}

impl Parameters {
    /// The root scope, under which modules declare their tensors.
    pub fn root(&mut self) -> Scope<'_> {
        Scope { parameters: self, path: String::new() }
    }

    /// The parameter with an id.
    pub fn get(&self, id: ParameterId) -> &Parameter {
        &self.list[id.index()]
    }

    /// The id of a name.
    pub fn find(&self, name: &str) -> Option<ParameterId> {
        self.by_name.get(name).copied()
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of trained elements, without buffers, as PyTorch counts.
    pub fn trained_elements(&self) -> usize {
        self.list.iter().filter(|p| p.role == Role::Parameter).map(Parameter::elements).sum()
    }

    /// Every parameter, in declaration order.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &Parameter)> {
        self.list.iter().enumerate().map(|(i, p)| (ParameterId(i as u32), p))
    }

    /// The convolutions made from branches, in declaration order; none in a model as trained.
    pub fn folds(&self) -> &[Fold] {
        &self.folds
    }

    /// Every parameter in PyTorch's state dict order: each module's own parameters, then its buffers, then its
    /// children, each in declaration order.
    pub fn in_state_dict_order(&self) -> Vec<ParameterId> {
        let mut root = Module::default();
        for (id, parameter) in self.iter() {
            root.insert(&parameter.name, id, parameter.role);
        }
        let mut order = Vec::with_capacity(self.len());
        root.flatten(&mut order);
        order
    }
}

/// A module's tensors and children, for [`Parameters::in_state_dict_order`].
#[derive(Default)]
struct Module<'a> {
    parameters: Vec<ParameterId>,
    buffers: Vec<ParameterId>,
    children: Vec<(&'a str, Module<'a>)>,
    child_index: HashMap<&'a str, usize>,
}

impl<'a> Module<'a> {
    fn insert(&mut self, name: &'a str, id: ParameterId, role: Role) {
        match (name.split_once('.'), role) {
            (None, Role::Parameter) => self.parameters.push(id),
            (None, Role::Buffer) => self.buffers.push(id),
            (Some((child, rest)), _) => {
                let index = *self.child_index.entry(child).or_insert_with(|| {
                    self.children.push((child, Module::default()));
                    self.children.len() - 1
                });
                self.children[index].1.insert(rest, id, role);
            }
        }
    }

    fn flatten(&self, order: &mut Vec<ParameterId>) {
        order.extend(&self.parameters);
        order.extend(&self.buffers);
        for (_, child) in &self.children {
            child.flatten(order);
        }
    }
}

/// A module under construction. Names declared in it are prefixed with its path.
pub struct Scope<'p> {
    parameters: &'p mut Parameters,
    path: String,
}

impl Scope<'_> {
    /// The scope of a child module.
    pub fn child(&mut self, name: impl std::fmt::Display) -> Scope<'_> {
        let path = self.name_of(&name.to_string());
        Scope { parameters: self.parameters, path }
    }

    /// The same module again.
    pub fn same(&mut self) -> Scope<'_> {
        Scope { parameters: self.parameters, path: self.path.clone() }
    }

    /// The module's own path; empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Declares an f32 parameter.
    ///
    /// # Panics
    /// If the module already has a tensor with this name, which is a bug in the architecture's code.
    pub fn parameter(&mut self, leaf: &str, shape: &[usize]) -> ParameterId {
        self.declare(leaf, shape, Dtype::F32, Role::Parameter)
    }

    /// Declares a buffer.
    ///
    /// # Panics
    /// Like [`Scope::parameter`].
    pub fn buffer(&mut self, leaf: &str, shape: &[usize], dtype: Dtype) -> ParameterId {
        self.declare(leaf, shape, dtype, Role::Buffer)
    }

    /// Records what a declared convolution is made from.
    pub(super) fn fold(&mut self, fold: Fold) {
        self.parameters.folds.push(fold);
    }

    fn name_of(&self, leaf: &str) -> String {
        if self.path.is_empty() { leaf.to_owned() } else { format!("{}.{leaf}", self.path) }
    }

    fn declare(&mut self, leaf: &str, shape: &[usize], dtype: Dtype, role: Role) -> ParameterId {
        let name = self.name_of(leaf);
        let id = ParameterId(self.parameters.list.len() as u32);
        let before = self.parameters.by_name.insert(name.clone(), id);
        assert!(before.is_none(), "the architecture declares `{name}` twice");
        self.parameters.list.push(Parameter { name, shape: shape.to_vec(), dtype, role });
        id
    }
}
