//! Builds of accelerated images, from the push to the tree that a node sees.

mod accelerated_tree;
mod broken_layer;
mod cancel;
mod golden;
mod image_shapes;
mod odd_indexes;
mod private_layer;
mod real_image;
mod unpacking;
