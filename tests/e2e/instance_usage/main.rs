//! What an instance holds, and what it may hold.

mod quotas;
