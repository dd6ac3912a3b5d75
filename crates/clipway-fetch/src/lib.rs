//! Fetches images by address, without letting an address reach what it should not (server-side request forgery).
//!
//! An [`Address`] is parsed once, strictly, and what is checked is what is connected to: [`Hosts`] says which names,
//! schemes and ports are allowed; a name is resolved once; if any of its addresses is not public, none is used; and the
//! connection goes to a checked address. A redirect is a new address under the same rules. Nothing is read from the
//! environment but the system's root certificates: there are no proxies, cookies, credentials or compressed bodies.
//!
//! A fetch is one future. Dropping it closes its connection.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod address;
mod hosts;
mod public;
mod network;
mod error;
mod exchange;
mod fetcher;

pub use address::{Address, AddressError};
pub use error::FetchError;
pub use fetcher::{FetchLimits, Fetcher, StartError};
pub use hosts::{Hosts, HostsError};
pub use network::{Later, Network, System};
pub use public::is_public;
