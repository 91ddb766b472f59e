//! The checks of the fuzz targets, one module each. A check panics on a finding.

pub mod fingerprint;
pub mod http_offers;
pub mod json_offers;
#[path = "../../tests/json_offers/tree.rs"]
mod tree;

#[cfg(test)]
mod layer;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod seeds;
