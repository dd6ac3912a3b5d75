//! A source made of others: how their tensors become one model, and everything else that a source states.

use super::config::ConfigOrigin;
use crate::artifact::Part;
use crate::config::ConfigFile;
use crate::contract::Contract;
use crate::layout::Layout;
use crate::plan::Converted;

/// How the tensors of several sources become one model. [`crate::mix`] makes it, together with their checkpoint.
#[derive(Clone, Debug)]
pub struct Composed {
    pub(crate) converted: Converted,
    pub(crate) config: ConfigFile,
    pub(crate) origin: ConfigOrigin,
    pub(crate) layout: &'static Layout,
    pub(crate) contract: Contract,
    pub(crate) text_model_file: Option<Vec<u8>>,
    pub(crate) notes: Vec<String>,
    pub(crate) parts: Vec<Part>,
}
