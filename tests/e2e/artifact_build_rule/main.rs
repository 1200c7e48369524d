//! Rules for building.

mod pushes;
