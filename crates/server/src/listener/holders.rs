//! How many connections each address holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use berth_auth::ClientAddress as Address;

/// The addresses that hold connections; never more entries than connections.
#[derive(Debug, Default)]
pub(super) struct Holders(Mutex<HashMap<Address, usize>>);

/// One connection of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    holders: Arc<Holders>,
    address: Address,
}

impl Holders {
    /// Takes one of `most` connections for the address; `None` when it holds as many.
    pub(super) fn take(self: &Arc<Self>, address: Address, most: usize) -> Option<Held> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Held { holders: Arc::clone(self), address })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.holders.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_so_many_and_leaves_nothing_behind() {
        let holders = Arc::new(Holders::default());
        let (a, b) = (Address::V4(1), Address::V6(1));
        let first = holders.take(a, 2).expect("first");
        let second = holders.take(a, 2).expect("second");
        assert!(holders.take(a, 2).is_none());
        let other = holders.take(b, 2).expect("another address");
        drop(first);
        let third = holders.take(a, 2).expect("one was given back");
        drop((second, third, other));
        assert!(holders.0.lock().expect("lock").is_empty());
    }
}
