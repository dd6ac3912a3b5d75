//! What the tests of clipway share: golden readers, and the checks that `xtask` and the tests run over them.

#![forbid(unsafe_code)]

pub mod preprocess_goldens;
