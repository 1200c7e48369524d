//! Names, read as strangers write them.

mod fuzz_inputs;
