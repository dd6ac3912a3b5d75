//! Pseudorandom numbers from a seed, by Marsaglia's xorshift.

pub struct Draw(pub u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit
    }

    pub fn from(&mut self, low: u64, high: u64) -> usize {
        (low + self.next() % (high - low)) as usize
    }
}
