//! The pace of a transfer: one that trickles is as good as silent.

use std::time::Duration;

/// Fewer bytes per second than this, over the time that a connection may be silent, are a stall: a modem brings five times
/// as many.
const SLOWEST_RATE: u64 = 1 << 10;

/// The pace of one transfer. Only the time spent waiting for the server counts, not that of the disk.
pub(super) struct Pace {
    interval: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// The pace of a transfer that is judged once every `interval` of waiting.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, waited: Duration::ZERO, bytes: 0 }
    }

    /// Adds `bytes` that came after `waiting`; gives whether that is fast enough.
    pub(super) fn is_enough(&mut self, waiting: Duration, bytes: u64) -> bool {
        self.waited += waiting;
        self.bytes += bytes;
        if self.waited < self.interval {
            return true;
        }
        let enough = u128::from(self.bytes) * 1000 >= u128::from(SLOWEST_RATE) * self.waited.as_millis();
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_that_trickles_is_not_enough() {
        let check = |waiting: Duration, bytes: u64, expected: bool| {
            let mut pace = Pace::new(Duration::from_secs(30));
            let is_enough = (0..1000).all(|_| pace.is_enough(waiting, bytes));
            assert_eq!(is_enough, expected, "{bytes} bytes every {waiting:?}");
        };
        check(Duration::from_secs(1), 1, false);
        check(Duration::from_secs(29), 1500, false);
        check(Duration::from_millis(1), 0, true);
        check(Duration::from_secs(40), 40 << 10, true);
        check(Duration::from_secs(1), 1024, true);
        check(Duration::from_secs(10), 16 << 10, true);
        check(Duration::from_nanos(1), 1, true);
    }
}
