//! Decisions from a seed, or from the bytes of a fuzzer.

/// A source of decisions.
pub(crate) struct Choices {
    bytes: Vec<u8>,
    /// State of the generator that continues after the bytes. `None` for a fuzzer, whose input
    /// ends.
    state: Option<u64>,
}

#[allow(dead_code, reason = "the test uses seeds, the fuzz target uses bytes")]
impl Choices {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self { bytes: Vec::new(), state: Some(seed) }
    }

    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        let bytes = bytes.iter().rev().copied().collect();
        Self { bytes, state: None }
    }

    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let Some(state) = &mut self.state else {
            return usize::from(self.bytes.pop().unwrap_or_default()) % end.max(1);
        };
        // SplitMix64.
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 16).unwrap_or_default() % end.max(1)
    }

    /// True once in `times` calls, on average.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub(crate) fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}
