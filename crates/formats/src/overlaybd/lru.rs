//! A few numbered pieces of bytes, those used last.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps at most `slots` pieces. Shared by reference between threads.
pub(crate) struct Lru(Mutex<State>);

struct State {
    slots: usize,
    clock: u64,
    pieces: HashMap<u64, (u64, Arc<[u8]>)>,
    /// Time of use to number.
    by_use: BTreeMap<u64, u64>,
}

impl Lru {
    pub(crate) fn new(slots: usize) -> Self {
        Self(Mutex::new(State {
            slots: slots.max(1),
            clock: 0,
            pieces: HashMap::new(),
            by_use: BTreeMap::new(),
        }))
    }

    /// The pieces `first..end`; those that are missing are fetched in runs. `fetch(from, to)`
    /// gives one or more pieces beginning with `from`.
    pub(crate) fn range<E>(
        &self,
        first: u64,
        end: u64,
        mut fetch: impl FnMut(u64, u64) -> Result<Vec<Arc<[u8]>>, E>,
    ) -> Result<Vec<Arc<[u8]>>, E> {
        let mut found: Vec<Option<Arc<[u8]>>> = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (first..end).map(|number| state.get(number)).collect()
        };
        let mut at = 0;
        while at < found.len() {
            let gap = found.iter().skip(at).take_while(|piece| piece.is_none()).count();
            if gap == 0 {
                at += 1;
                continue;
            }
            let from = first + at as u64;
            let pieces = fetch(from, from + gap as u64)?;
            if pieces.is_empty() {
                break;
            }
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (number, piece) in (from..).zip(pieces) {
                state.insert(number, Arc::clone(&piece));
                if let Some(slot) = found.get_mut(at) {
                    *slot = Some(piece);
                }
                at += 1;
            }
        }
        Ok(found.into_iter().flatten().collect())
    }
}

impl State {
    fn get(&mut self, number: u64) -> Option<Arc<[u8]>> {
        let (used, piece) = self.pieces.get_mut(&number)?;
        self.by_use.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.by_use.insert(self.clock, number);
        Some(Arc::clone(piece))
    }

    fn insert(&mut self, number: u64, piece: Arc<[u8]>) {
        self.clock += 1;
        if let Some((used, _)) = self.pieces.insert(number, (self.clock, piece)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.clock, number);
        while self.pieces.len() > self.slots {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.pieces.remove(&oldest);
        }
    }
}
