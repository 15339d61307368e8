//! Running a dispatch: workgroups one after the other, or on several threads where nothing can depend on
//! their order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::finding::Kind;
use super::math::Numbers;
use super::memory::{Memory, ORIGIN, Taint, is_unwritten};
use super::personality::{Personality, Schedule};
use super::program::{BufferKind, Program};
use crate::rng::Rng;

mod access;
mod atomic;
mod group;
mod lanes;
mod ops;
mod taint;

use group::Group;
pub(super) use group::coordinates;
use lanes::Lanes;

/// After so many iterations in a row a loop counts as endless.
pub(super) const LOOP_BOUND: u32 = 1 << 20;
/// So many findings of a dispatch are kept.
const KEPT: usize = 200;

/// What made a value one that is not to be trusted.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub kind: Kind,
    pub seen: Seen,
}

/// Something seen, still in the program's terms.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Which dispatch of a run.
    pub step: u32,
    pub site: u32,
    pub workgroup: u32,
    pub lane: u32,
    /// A place in the program's names.
    pub name: Option<u32>,
    pub index: Option<i64>,
    pub count: Option<u64>,
    /// Of a conflict, whether this access writes.
    pub writes: bool,
    /// Of the other access, whether it writes, where it stands, and who did it.
    pub other: Option<(bool, u32, u32, u32)>,
    /// In which dispatch, and where.
    pub used: Option<(u32, u32)>,
    pub detail: &'static str,
}

/// What a dispatch found, and the origins that its memory refers to.
#[derive(Debug, Default)]
pub(super) struct Log {
    state: Mutex<State>,
    /// One more than the dispatch that was given up last, since workgroups ask all the time; 0 if none was.
    given_up: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    seen: HashMap<(Kind, u32, u32), Seen>,
    origins: Vec<Origin>,
    by_place: HashMap<(Kind, u32, u32), u32>,
}

impl Log {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something wrong: of each kind and place, what the first lane of the first workgroup saw.
    pub fn report(&self, kind: Kind, seen: Seen) {
        if kind == Kind::EndlessLoop {
            self.given_up.store(seen.step + 1, Relaxed);
        }
        let mut state = self.state();
        let full = state.seen.len() >= KEPT;
        match state.seen.entry((kind, seen.step, seen.site)) {
            Entry::Occupied(mut old) => {
                if (seen.workgroup, seen.lane) < (old.get().workgroup, old.get().lane) {
                    old.insert(seen);
                }
            }
            Entry::Vacant(place) if !full => {
                place.insert(seen);
            }
            Entry::Vacant(_) => {}
        }
    }

    /// The number of an origin, the same for all of one kind and place.
    pub fn origin(&self, kind: Kind, seen: Seen) -> u32 {
        let mut state = self.state();
        let place = (kind, seen.step, seen.site);
        if let Some(number) = state.by_place.get(&place).copied() {
            // Threads come in any order; the first lane of the first workgroup is named all the same.
            if let Some(old) = state.origins.get_mut(number as usize - 1)
                && (seen.workgroup, seen.lane) < (old.seen.workgroup, old.seen.lane)
            {
                old.seen = seen;
            }
            return number;
        }
        let number = state.origins.len() as u32 + 1;
        state.by_place.insert(place, number);
        state.origins.push(Origin { kind, seen });
        number
    }

    /// An origin by its number.
    pub fn origin_of(&self, number: u32) -> Option<Origin> {
        self.state().origins.get((number as usize).checked_sub(1)?).cloned()
    }

    /// Reports what is wrong with a buffer after its last writer, dispatch `step` of `program`: bytes that
    /// `held` (flags of a word's taint) says to be of elements, and that nothing wrote or that come of what
    /// is not to be trusted. `name` is the buffer's in the program.
    pub fn judge(
        &self,
        memory: &Memory,
        held: impl Fn(usize) -> Taint,
        step: u32,
        program: &Program,
        name: &str,
    ) {
        let number = program.names.iter().position(|n| n == name).map(|n| n as u32);
        for (word, taint) in memory.taints().enumerate().filter(|(word, t)| t & held(*word) != 0) {
            if is_unwritten(taint) {
                // At the first store to it; what is never stored to stands nowhere.
                let site = number.and_then(|n| program.first_store(n)).map_or(u32::MAX, |site| site.0);
                let index = Some(word as i64);
                self.report(Kind::NeverWritten, Seen { step, site, name: number, index, ..Seen::default() });
            } else if let Some(origin) = self.origin_of(taint & ORIGIN) {
                let users = memory.users(program.location(word as u32 * 4));
                let used = users.and_then(|users| Some((step, users.writer()?.site)));
                self.report(origin.kind, Seen { used, ..origin.seen });
            }
        }
    }

    /// Whether a loop of a dispatch goes on for ever.
    pub fn gave_up(&self, step: u32) -> bool {
        self.given_up.load(Relaxed) == step + 1
    }

    /// Forgets what was seen in a dispatch.
    pub fn forget_step(&self, step: u32) {
        self.given_up.store(0, Relaxed);
        self.state().seen.retain(|(_, of, _), _| *of != step);
    }

    /// Forgets what was seen, but not the origins, which memory still refers to.
    pub fn forget_seen(&self) {
        self.given_up.store(0, Relaxed);
        self.state().seen.clear();
    }

    /// Everything seen, in order of place.
    pub fn seen(&self) -> Vec<(Kind, Seen)> {
        let mut all: Vec<_> =
            self.state().seen.iter().map(|((kind, ..), seen)| (*kind, seen.clone())).collect();
        all.sort_by_key(|(kind, seen)| (seen.step, seen.site, *kind));
        all
    }
}

/// A dispatch.
pub(super) struct Dispatch<'a> {
    pub program: &'a Program,
    pub personality: &'a Personality,
    pub numbers: &'a Numbers,
    /// What is bound, in the order of the program's buffers.
    pub buffers: &'a [&'a Memory],
    pub grid: [u32; 3],
    /// Which dispatch of a run it is.
    pub step: u32,
    pub log: &'a Log,
}

impl Dispatch<'_> {
    /// Runs every workgroup. On several threads the same happens as on one, unless workgroups race.
    pub fn run(&self, threads: usize) {
        let lanes = Lanes::new(self.program.workgroup_size, self.personality);
        let order = self.order();
        let threads = if self.program.atomics { 1 } else { threads.clamp(1, order.len().max(1)) };
        if threads == 1 {
            let mut group = Group::new(self, &lanes);
            order.iter().for_each(|wg| group.run(*wg));
            return;
        }
        std::thread::scope(|scope| {
            for part in order.chunks(order.len().div_ceil(threads)) {
                let lanes = &lanes;
                scope.spawn(move || {
                    let mut group = Group::new(self, lanes);
                    part.iter().for_each(|wg| group.run(*wg));
                });
            }
        });
    }

    /// Workgroups by number, in the order in which they run.
    fn order(&self) -> Vec<u32> {
        let count = self.grid.iter().map(|n| u64::from(*n)).product::<u64>().min(u64::from(u32::MAX)) as u32;
        permuted(count, self.personality)
    }
}

/// Numbers below `count` in the order of the personality.
fn permuted(count: u32, personality: &Personality) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    match personality.schedule {
        Schedule::Forward => {}
        Schedule::Backward => order.reverse(),
        Schedule::Shuffled => shuffle(&mut order, personality.seed ^ u64::from(count)),
    }
    order
}

/// Fisher and Yates.
fn shuffle(items: &mut [u32], seed: u64) {
    let mut rng = Rng::new(seed);
    for i in (1..items.len()).rev() {
        items.swap(i, rng.below(i as u64 + 1) as usize);
    }
}

/// Whether a program writes a buffer.
pub(super) fn writes(kind: BufferKind) -> bool {
    kind == BufferKind::ReadWrite
}
