//! Looks for something short in bytes that pass in pieces.

/// The end of what passed, in which something may have begun that is no longer than `LONGEST` bytes.
#[derive(Debug, Default)]
pub struct Seam<const LONGEST: usize> {
    carried: Vec<u8>,
}

impl<const LONGEST: usize> Seam<LONGEST> {
    /// Shows the seam between the pieces before and `bytes`, and then the piece itself, which is not copied.
    pub fn pass(&mut self, bytes: &[u8], mut look: impl FnMut(&[u8])) {
        self.carried.extend_from_slice(&bytes[..bytes.len().min(LONGEST)]);
        look(&self.carried);
        look(bytes);
        if bytes.len() >= LONGEST {
            self.carried.clear();
            self.carried.extend_from_slice(&bytes[bytes.len() - LONGEST..]);
        } else {
            let surplus = self.carried.len().saturating_sub(LONGEST);
            self.carried.drain(..surplus);
        }
    }
}
