//! macOS must be told that Python provides symbols; other systems need nothing.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
