//! The hash that orders names in indexed directories: MD4 cut down to three rounds of eight
//! steps over 32 bytes at a time, name bytes counted as unsigned.

use super::superblock::HASH_SEED;

const CHUNK: usize = 32;
const SECOND_ROUND: u32 = 0x5a82_7999;
const THIRD_ROUND: u32 = 0x6ed9_eba1;
/// The largest even value stands for the end of a directory and is not a hash.
const END: u32 = 0xffff_fffe;

/// The hash of a name; its lowest bit is always 0.
pub(super) fn hash(name: &[u8]) -> u32 {
    let mut state = HASH_SEED;
    let mut rest = name;
    while !rest.is_empty() {
        mix(&mut state, words(rest));
        rest = rest.get(CHUNK..).unwrap_or_default();
    }
    let hash = state[1] & !1;
    if hash == END { END - 2 } else { hash }
}

/// The next 32 bytes as words, first byte highest; behind the end stands the remaining length.
fn words(rest: &[u8]) -> [u32; 8] {
    let length = u32::try_from(rest.len()).unwrap_or(u32::MAX) & 0xff;
    let padding = length * 0x0101_0101;
    let mut words = [padding; 8];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        *word = bytes.iter().fold(padding, |word, byte| word << 8 | u32::from(*byte));
    }
    words
}

fn mix(state: &mut [u32; 4], input: [u32; 8]) {
    let choose = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    let majority = |x: u32, y: u32, z: u32| (x & y) | (z & (x | y));
    let parity = |x: u32, y: u32, z: u32| x ^ y ^ z;
    let mut turned = *state;
    // Each step alters one register and the next step takes its neighbour.
    let mut step = |number: usize, mixed: u32, word: u32, shift: u32| {
        let at = (4 - number % 4) % 4;
        turned[at] = turned[at].wrapping_add(mixed).wrapping_add(word).rotate_left(shift);
        turned
    };
    let mut now = *state;
    let operands = |now: &[u32; 4], number: usize| {
        let at = (4 - number % 4) % 4;
        (now[(at + 1) % 4], now[(at + 2) % 4], now[(at + 3) % 4])
    };
    for (number, word) in input.into_iter().enumerate() {
        let (x, y, z) = operands(&now, number);
        now = step(number, choose(x, y, z), word, [3, 7, 11, 19][number % 4]);
    }
    for (number, place) in [1, 3, 5, 7, 0, 2, 4, 6].into_iter().enumerate() {
        let (x, y, z) = operands(&now, number);
        let word = input[place].wrapping_add(SECOND_ROUND);
        now = step(number, majority(x, y, z), word, [3, 5, 9, 13][number % 4]);
    }
    for (number, place) in [3, 7, 2, 6, 1, 5, 0, 4].into_iter().enumerate() {
        let (x, y, z) = operands(&now, number);
        let word = input[place].wrapping_add(THIRD_ROUND);
        now = step(number, parity(x, y, z), word, [3, 9, 11, 15][number % 4]);
    }
    for (register, turned) in state.iter_mut().zip(now) {
        *register = register.wrapping_add(turned);
    }
}
