//! Collection and scrubbing as an operator sees them, and under load.

mod gc;
mod gc_stress;
mod scrub;
