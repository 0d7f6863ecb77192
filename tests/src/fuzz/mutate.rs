//! Inputs near those of a corpus, the same ones every time: what the ordinary test runs where the fuzzer is not at hand.

use fastrand::Rng;

/// Makes inputs from the files of a corpus.
#[derive(Debug)]
pub struct Mutator<'c> {
    corpus: &'c [Vec<u8>],
    rng: Rng,
}

/// Bytes that end lines, fields and numbers.
const TELLING: [u8; 16] =
    [0, b'\r', b'\n', b'.', b' ', b'\t', b'"', b'<', b'>', b',', b':', b'@', b'\\', 0x7f, 0x80, 0xff];

impl Mutator<'_> {
    pub fn new(corpus: &[Vec<u8>], seed: u64) -> Mutator<'_> {
        Mutator { corpus, rng: Rng::with_seed(seed) }
    }

    /// A file of the corpus, changed in one to eight places.
    pub fn make(&mut self) -> Vec<u8> {
        let mut data = self.pick().to_vec();
        for _ in 0..self.rng.usize(1..=8) {
            self.change(&mut data);
        }
        data
    }

    fn pick(&mut self) -> &[u8] {
        match self.corpus.len() {
            0 => &[],
            n => &self.corpus[self.rng.usize(..n)],
        }
    }

    fn change(&mut self, data: &mut Vec<u8>) {
        let at = self.rng.usize(..=data.len());
        let end = (at + self.rng.usize(1..=16)).min(data.len());
        match self.rng.u8(..8) {
            0 if at < data.len() => data[at] ^= 1 << self.rng.u8(..8),
            1 if at < data.len() => data[at] = TELLING[self.rng.usize(..TELLING.len())],
            2 => data.insert(at, TELLING[self.rng.usize(..TELLING.len())]),
            3 => data.insert(at, self.rng.u8(..)),
            4 => drop(data.drain(at..end)),
            5 => {
                let copied = data[at..end].to_vec();
                let to = self.rng.usize(..=data.len());
                data.splice(to..to, copied);
            }
            6 => data.truncate(at),
            _ => {
                let other = self.pick().to_vec();
                let from = self.rng.usize(..=other.len());
                data.splice(at.., other[from..].iter().copied());
            }
        }
    }
}
