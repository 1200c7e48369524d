//! Artifact building: rules, tasks, plan, conversion, target image.
