//! What tests share: a real berth process, PostgreSQL and S3 servers, images. Never a dependency of the product.
