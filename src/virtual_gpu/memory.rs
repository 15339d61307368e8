//! Memory that remembers: for every word whether anything wrote it, and who used it last.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Why a word is not to be trusted: the number of an [`Origin`](super::exec::Origin) in the low 28 bits,
/// and which of its four bytes it is about in the high ones; 0 if it may be trusted.
pub(super) type Taint = u32;

/// The bits of a [`Taint`] that number its origin.
pub(super) const ORIGIN: Taint = 0x0fff_ffff;
/// The bits of a [`Taint`] for all four bytes.
pub(super) const ALL_BYTES: Taint = 0xf000_0000;
/// Memory that nothing wrote: an origin is made of it when it is read.
const UNWRITTEN: Taint = ALL_BYTES | ORIGIN;

/// Whether it is that nothing wrote the word.
pub(super) const fn is_unwritten(taint: Taint) -> bool {
    taint & ORIGIN == ORIGIN
}

/// Who used a location: workgroup (26 bits), lane (10), barriers passed (12), kind (1), site (15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Who {
    pub workgroup: u32,
    pub lane: u32,
    /// How many barriers for this memory the workgroup has passed, modulo 4096.
    pub epoch: u32,
    pub atomic: bool,
    pub site: u32,
}

impl Who {
    const NOBODY: u64 = 0;

    fn pack(self) -> u64 {
        let workgroup = (u64::from(self.workgroup) + 1) & 0x3ff_ffff;
        (workgroup << 38)
            | (u64::from(self.lane & 0x3ff) << 28)
            | (u64::from(self.epoch & 0xfff) << 16)
            | (u64::from(self.atomic) << 15)
            | u64::from(self.site.min(0x7fff))
    }

    fn unpack(word: u64) -> Option<Self> {
        (word != Self::NOBODY).then(|| Self {
            workgroup: ((word >> 38) as u32).wrapping_sub(1),
            lane: (word >> 28) as u32 & 0x3ff,
            epoch: (word >> 16) as u32 & 0xfff,
            atomic: word & 0x8000 != 0,
            site: word as u32 & 0x7fff,
        })
    }
}

/// Who used a location last: one writer and two readers, of different workgroups if there are such.
#[derive(Debug, Default)]
pub(super) struct Users {
    writer: AtomicU64,
    readers: [AtomicU64; 2],
}

/// A conflict: who was there before, and whether to write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conflict {
    pub before: Who,
    pub write: bool,
}

impl Users {
    /// Notes an access; says which earlier one it conflicts with. With `only_here`, other workgroups
    /// are forgotten: this is memory of one workgroup after the other.
    pub fn note(&self, who: Who, write: bool, only_here: bool) -> Option<Conflict> {
        let packed = who.pack();
        let before = self.writer.load(Relaxed);
        let mut found = conflict(before, who, only_here).map(|before| Conflict { before, write: true });
        if write {
            for reader in &self.readers {
                let read = reader.load(Relaxed);
                found = found.or_else(|| {
                    conflict(read, who, only_here).map(|before| Conflict { before, write: false })
                });
            }
            self.writer.store(packed, Relaxed);
            return found;
        }
        let first = Who::unpack(self.readers[0].load(Relaxed));
        let same = |w: &Who| w.workgroup == who.workgroup && (w.lane == who.lane || w.epoch != who.epoch);
        let place = match &first {
            None => 0,
            Some(w) if same(w) || (only_here && w.workgroup != who.workgroup) => 0,
            Some(w) => {
                let second = Who::unpack(self.readers[1].load(Relaxed));
                let keeps =
                    second.is_some_and(|s| s.workgroup != w.workgroup && w.workgroup == who.workgroup);
                if keeps && !only_here {
                    return found;
                }
                1
            }
        };
        self.readers[place].store(packed, Relaxed);
        found
    }

    /// Who wrote last.
    pub fn writer(&self) -> Option<Who> {
        Who::unpack(self.writer.load(Relaxed))
    }

    fn forget(&self) {
        self.writer.store(Who::NOBODY, Relaxed);
        self.readers.iter().for_each(|r| r.store(Who::NOBODY, Relaxed));
    }
}

/// Whether an earlier access and this one are not ordered, one of them known to be a write.
fn conflict(before: u64, who: Who, only_here: bool) -> Option<Who> {
    let before = Who::unpack(before)?;
    if before.atomic && who.atomic {
        return None;
    }
    if before.workgroup != who.workgroup {
        return (!only_here).then_some(before);
    }
    (before.lane != who.lane && before.epoch == who.epoch & 0xfff).then_some(before)
}

/// A buffer.
#[derive(Debug, Default)]
pub(super) struct Memory {
    words: Vec<AtomicU32>,
    taints: Vec<AtomicU32>,
    /// One for each word, or, where a program uses halves, two; empty for what is never written.
    users: Vec<Users>,
    /// Bytes that programs may use, the rest being out of bounds.
    bound: u64,
}

impl Memory {
    /// A buffer of `bytes` bytes that nothing wrote, of which programs see `bound`.
    pub fn new(bytes: u64, bound: u64) -> Self {
        let words = bytes.div_ceil(4) as usize;
        Self {
            words: (0..words).map(|_| AtomicU32::new(0)).collect(),
            taints: (0..words).map(|_| AtomicU32::new(UNWRITTEN)).collect(),
            users: Vec::new(),
            bound: bound.min(words as u64 * 4),
        }
    }

    /// Bytes that programs may use.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// Writes bytes from the start.
    pub fn write(&mut self, bytes: &[u8]) {
        for ((word, taint), four) in self.words.iter_mut().zip(&mut self.taints).zip(bytes.chunks(4)) {
            let mut whole = word.get_mut().to_le_bytes();
            whole[..four.len()].copy_from_slice(four);
            *word.get_mut() = u32::from_le_bytes(whole);
            *taint.get_mut() = 0;
        }
    }

    /// Makes every word one that nothing wrote, and that holds this.
    pub fn unwrite(&mut self, pattern: u32) {
        self.words.iter_mut().for_each(|w| *w.get_mut() = pattern);
        self.taints.iter_mut().for_each(|t| *t.get_mut() = UNWRITTEN);
    }

    /// All bytes.
    pub fn read(&self) -> Vec<u8> {
        self.words.iter().flat_map(|w| w.load(Relaxed).to_le_bytes()).collect()
    }

    /// Forgets who used it: before a dispatch that writes it, with so many locations in a word.
    pub fn forget_users(&mut self, per_word: usize) {
        let wanted = self.words.len() * per_word;
        if self.users.len() == wanted {
            self.users.iter().for_each(Users::forget);
        } else {
            self.users.clear();
            self.users.resize_with(wanted, Users::default);
        }
    }

    /// A copy of what it holds, to run a dispatch again.
    pub fn copy(&self) -> Vec<(u32, Taint)> {
        (0..self.words.len()).map(|word| self.load(word)).collect()
    }

    /// Makes it what it was, as if nobody had used it since.
    pub fn restore(&self, saved: &[(u32, Taint)]) {
        saved.iter().enumerate().for_each(|(word, (value, taint))| self.store(word, *value, *taint));
        self.users.iter().for_each(Users::forget);
    }

    /// A word and whether to trust it; nothing past the end.
    #[inline]
    pub fn load(&self, word: usize) -> (u32, Taint) {
        match (self.words.get(word), self.taints.get(word)) {
            (Some(w), Some(t)) => (w.load(Relaxed), t.load(Relaxed)),
            _ => (0, 0),
        }
    }

    /// Changes a word.
    #[inline]
    pub fn store(&self, word: usize, value: u32, taint: Taint) {
        if let (Some(w), Some(t)) = (self.words.get(word), self.taints.get(word)) {
            w.store(value, Relaxed);
            t.store(taint, Relaxed);
        }
    }

    /// Changes half a word, `half` being 0 or 1, with no more than these bits of it changed: another thread
    /// may own the other half.
    pub fn store_half(&self, word: usize, half: u32, value: u32, taint: Taint) {
        let (Some(w), Some(t)) = (self.words.get(word), self.taints.get(word)) else { return };
        let (bits, flags) = (0xffff << (16 * half), 0x3000_0000 << (2 * half));
        let _ = w.fetch_update(Relaxed, Relaxed, |old| Some(old & !bits | (value & 0xffff) << (16 * half)));
        let _ = t.fetch_update(Relaxed, Relaxed, |old| Some(half_taint(old, taint, flags)));
    }

    /// Who uses a location; nobody is known for buffers that are only read.
    #[inline]
    pub fn users(&self, location: usize) -> Option<&Users> {
        self.users.get(location)
    }

    /// Whether to trust each word.
    pub fn taints(&self) -> impl Iterator<Item = Taint> + '_ {
        self.taints.iter().map(|t| t.load(Relaxed))
    }
}

/// The taint of a word of which a half, with these flags, was written.
pub(super) fn half_taint(old: Taint, new: Taint, flags: Taint) -> Taint {
    let kept = old & ALL_BYTES & !flags;
    let set = if new == 0 { 0 } else { flags };
    match (kept | set, new & ORIGIN) {
        (0, _) => 0,
        (bytes, 0) => bytes | old & ORIGIN,
        (bytes, origin) => bytes | origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(workgroup: u32, lane: u32, epoch: u32) -> Who {
        Who { workgroup, lane, epoch, atomic: false, site: 7 }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for w in [who(0, 0, 0), who(0x3ff_fffe, 1023, 4095), Who { atomic: true, ..who(5, 6, 7) }] {
            assert_eq!(Who::unpack(w.pack()), Some(w));
        }
    }

    #[test]
    fn accesses_conflict_unless_they_are_ordered_or_both_read() {
        let note = |first: (Who, bool), second: (Who, bool)| {
            let users = Users::default();
            assert!(users.note(first.0, first.1, false).is_none());
            users.note(second.0, second.1, false).is_some()
        };
        let (a, b) = (who(0, 0, 3), who(0, 1, 3));
        assert!(note((a, true), (b, true)) && note((a, true), (b, false)) && note((a, false), (b, true)));
        assert!(!note((a, false), (b, false)) && !note((a, true), (a, true)));
        assert!(!note((a, true), (who(0, 1, 4), true)), "a barrier orders");
        assert!(note((a, true), (who(1, 1, 4), false)), "no barrier orders workgroups");
        let atomic = |w| Who { atomic: true, ..w };
        assert!(!note((atomic(a), true), (atomic(b), true)) && note((atomic(a), true), (b, false)));
    }

    #[test]
    fn a_reader_of_another_workgroup_is_not_forgotten() {
        let users = Users::default();
        for reader in [who(0, 0, 0), who(1, 0, 0), who(0, 1, 0), who(1, 1, 0)] {
            assert!(users.note(reader, false, false).is_none());
        }
        assert!(users.note(who(0, 0, 0), true, false).is_some());
    }

    #[test]
    fn halves_are_trusted_one_by_one() {
        let low = half_taint(UNWRITTEN, 0, 0x3000_0000);
        assert_eq!(low & ALL_BYTES, 0xc000_0000);
        assert_eq!(half_taint(low, 0, 0xc000_0000), 0);
        assert_eq!(half_taint(0, ALL_BYTES | 5, 0xc000_0000), 0xc000_0005);
    }
}
