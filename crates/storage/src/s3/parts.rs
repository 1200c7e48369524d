//! What a partial object consists of, and how large its parts are.

use std::ops::Range;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use super::flight::InFlight;
use crate::{StorageError, StorageErrorKind, key};

/// Bytes of the first parts. S3 takes no part below 5 MiB but the last.
const PART: usize = 8 << 20;
/// The highest part number that S3 takes.
const LAST_NUMBER: u32 = 10_000;
/// After each so many part numbers the size doubles: all of them make 484 GiB.
const DOUBLE_AFTER: u32 = 2_000;
/// Part numbers that a writer is given at a time. What it does not use until it syncs goes back;
/// what a crashed one was given is lost.
const TURN: u32 = 64;

/// Bytes that may be appended to a partial object that was resumed before it is synced: the
/// smallest parts of as many numbers as a writer is given.
pub const MOST_BETWEEN_SYNCS: u64 = (TURN as u64 - 1) * PART as u64;

/// Bytes of the part with this number.
pub(super) fn part_size(number: u32) -> usize {
    PART << (number.saturating_sub(1) / DOUBLE_AFTER).min(4)
}

/// What must survive: together the parts and the tails are the partial object. A part has its full
/// size whenever it was synced, so their number depends on the object's size alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(super) upload: Option<Upload>,
    pub(super) parts: Vec<Part>,
    /// The first part number that no writer was given.
    next: u32,
    /// The bytes after the last part, in order.
    pub(super) tails: Vec<Tail>,
    /// Tails of the checkpoint before this one. They stay until the next sync, because that checkpoint is the
    /// one that counts until this one is stored.
    pub(super) replaced: Vec<String>,
}

/// A multipart upload and the object that it will make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) id: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    #[serde(rename = "n")]
    pub(super) number: u32,
    #[serde(rename = "e")]
    pub(super) e_tag: String,
    #[serde(rename = "s")]
    pub(super) size: u64,
}

/// Bytes that are too few for a part, kept as an object of their own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tail {
    /// `group/name` below the folder of tails.
    pub(super) name: String,
    pub(super) size: u64,
}

impl Default for State {
    fn default() -> Self {
        Self { upload: None, parts: Vec::new(), next: 1, tails: Vec::new(), replaced: Vec::new() }
    }
}

impl State {
    pub(super) fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum::<u64>() + self.tails_len()
    }

    pub(super) fn tails_len(&self) -> u64 {
        self.tails.iter().map(|tail| tail.size).sum()
    }

    /// Every tail that the checkpoint names.
    pub(super) fn tail_names(&self) -> impl Iterator<Item = &String> {
        self.replaced.iter().chain(self.tails.iter().map(|tail| &tail.name))
    }

    /// A name for a new tail. Tails lie together with those of the same multipart upload, so that a
    /// sweep sees when it was last written to.
    pub(super) fn fresh_tail(&self, partial_key: &str) -> String {
        let group = self.upload.as_ref().map_or(partial_key, |upload| &upload.key);
        format!("{group}/{}", key::fresh())
    }

    /// Gives part numbers to a writer of a multipart upload that others may know too. `None` while
    /// there is none, and whoever begins one has it for himself.
    pub(super) fn give_numbers(&mut self) -> Option<Range<u32>> {
        self.upload.as_ref()?;
        let first = self.next;
        self.next = first.saturating_add(TURN);
        Some(first..self.next)
    }

    /// Takes back the numbers that a writer did not use.
    pub(super) fn give_back(&mut self, next: u32) {
        self.next = next;
    }
}

/// What a process holds while it writes.
pub(crate) struct Live {
    /// Bytes after the parts that are stored or on their way; without those of the tails when these
    /// were not loaded.
    pub(super) pending: BytesMut,
    pub(super) tails_loaded: bool,
    pub(super) in_flight: InFlight,
    /// Tails that the last checkpoint names and the next one will not.
    pub(super) replacing: Vec<String>,
    /// Part numbers to use.
    numbers: Range<u32>,
}

impl Live {
    /// For a writer with part numbers of its own, or for the only one that knows the upload.
    pub(super) fn new(state: &State, numbers: Option<Range<u32>>) -> Self {
        Self {
            pending: BytesMut::new(),
            tails_loaded: state.tails.is_empty(),
            in_flight: InFlight::default(),
            replacing: Vec::new(),
            numbers: numbers.unwrap_or(state.next..u32::MAX),
        }
    }

    /// Further numbers for a writer that goes on after it synced.
    pub(super) fn renew(&mut self, numbers: Option<Range<u32>>) {
        if let Some(numbers) = numbers {
            self.numbers = numbers;
        }
    }

    pub(super) fn next_number(&self) -> u32 {
        self.numbers.start
    }

    /// The number of a part that is about to be sent.
    pub(super) fn take_number(&mut self) -> Result<u32, StorageError> {
        let refused = |message: &str| {
            let message = message.to_owned();
            Err(StorageError::new(StorageErrorKind::Other, message))
        };
        match self.numbers.next() {
            Some(number) if number <= LAST_NUMBER => Ok(number),
            Some(_) => refused("the object is larger than 10 000 parts can be"),
            None => refused("too much was appended to a partial object since it was synced"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LAST_NUMBER, Live, MOST_BETWEEN_SYNCS, State, TURN, Upload, part_size};

    const GIB: u64 = 1 << 30;

    /// Sends `size` bytes in requests of `chunk`, each synced and continued by another writer, of
    /// which every `crash`th dies with the numbers it was given. Returns the numbers used up.
    fn numbers_used(size: u64, chunk: u64, crash: u64) -> u32 {
        let upload = Upload { key: String::new(), id: String::new() };
        let mut state = State { upload: Some(upload), ..State::default() };
        let (mut sent, mut pending, mut requests) = (0, 0, 0);
        while sent < size {
            requests += 1;
            let mut live = Live::new(&state.clone(), state.give_numbers());
            if requests % crash == 0 {
                continue;
            }
            let arriving = chunk.min(size - sent);
            sent += arriving;
            pending += arriving;
            while pending >= part_size(live.next_number()) as u64 {
                pending -= part_size(live.take_number().expect("a number")) as u64;
            }
            state.give_back(live.next_number());
        }
        state.next
    }

    #[test]
    fn a_hundred_gibibytes_fit_however_they_come() {
        for chunk in [1 << 20, 5 << 20, 7_654_321, 50_000_000, 64 << 20] {
            let used = numbers_used(100 * GIB, chunk, u64::MAX);
            assert!(used < 6_000, "{used} numbers for chunks of {chunk}");
        }
        // Forty writers that die one after another do not use the numbers up.
        let used = numbers_used(100 * GIB, 5 << 20, 512);
        assert!(used < LAST_NUMBER, "{used}");
        assert!(numbers_used(480 * GIB, 64 << 20, u64::MAX) <= LAST_NUMBER);
    }

    #[test]
    fn sizes_are_what_s3_takes() {
        let all: u64 = (1..=LAST_NUMBER).map(|number| part_size(number) as u64).sum();
        assert_eq!(all / GIB, 484);
        for number in 1..=LAST_NUMBER {
            assert!((5 << 20..=128 << 20).contains(&part_size(number)));
        }
    }

    #[test]
    fn numbers_end() {
        let upload = Upload { key: String::new(), id: String::new() };
        let mut state = State { upload: Some(upload), ..State::default() };
        let mut live = Live::new(&state.clone(), state.give_numbers());
        let given = std::iter::from_fn(|| live.take_number().ok()).count();
        assert_eq!(given, TURN as usize);
        assert!(live.take_number().expect_err("used up").to_string().contains("synced"));
        assert!(MOST_BETWEEN_SYNCS < u64::from(TURN) * part_size(1) as u64);
        state.give_back(LAST_NUMBER + 1);
        let mut live = Live::new(&state.clone(), state.give_numbers());
        assert!(live.take_number().expect_err("too large").to_string().contains("10 000"));
    }
}
