//! What the fixtures promise to the tests that use them.

mod services;
