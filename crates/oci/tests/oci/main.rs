//! The client against registries that misbehave in every way we defend against.

mod addresses;
mod blobs;
mod fuzz_inputs;
mod manifests;
mod pushes;
mod rate_limits;
mod redirects;
mod referrers;
mod tags;
mod tokens;
mod upstream;
