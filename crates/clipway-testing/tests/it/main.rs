//! The checks of this crate, run over what lies in the repository and, where it is there, beside it.

mod manifests;
