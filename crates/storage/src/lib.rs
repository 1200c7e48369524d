//! The blob store: immutable objects by unique key, on a folder, on S3 and in memory.
