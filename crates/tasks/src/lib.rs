//! Durable tasks: leased, fenced, cancellable, prioritised, logged. Knows no images.
