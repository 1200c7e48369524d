//! Artifact subscription: rules, tag selection, copy, a result for every tag.
