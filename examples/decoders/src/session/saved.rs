//! Going back: to an earlier position, or to what was saved.

use std::sync::atomic::{AtomicU64, Ordering};

use tachylite::wgpu;

use super::{Session, buffer};
use crate::{Error, Result};

/// Where a session was, and what it carried then.
#[derive(Debug)]
pub struct Saved {
    id: u64,
    position: usize,
    states: Vec<wgpu::Buffer>,
}

/// Positions that were saved, while caches still hold what they did then.
#[derive(Debug, Default)]
pub(super) struct Kept {
    live: Vec<(u64, usize)>,
}

/// How often anything was saved, by whatever session, so that none takes another's for its own.
static SAVED: AtomicU64 = AtomicU64::new(0);

impl Kept {
    /// Says that what comes overwrites caches from a position on.
    pub(super) fn cut(&mut self, position: usize) {
        self.live.retain(|(_, at)| *at <= position);
    }
}

impl Session {
    /// Goes back to an earlier position: what came after is overwritten by what comes.
    ///
    /// # Errors
    /// If it is no earlier position, or the model keeps a state and no cache: then [`save`](Self::save).
    pub fn rewind(&mut self, position: usize) -> Result<()> {
        if position > self.position {
            return Err(Error::new(format!("position {position} is not before {}", self.position)));
        }
        if !self.carried.is_empty() && position < self.position {
            return Err(Error::new("a recurrent model goes back only to where it was saved"));
        }
        self.position = position;
        self.kept.cut(position);
        Ok(())
    }

    /// Keeps what the model carries: of one with caches nothing but where it is.
    pub fn save(&mut self) -> Saved {
        let mut encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let copy = |name: &String| {
            let from = &self.buffers[name];
            let to = buffer(&self.gpu, "saved", from.size(), wgpu::BufferUsages::COPY_SRC);
            encoder.copy_buffer_to_buffer(from, 0, &to, 0, from.size());
            to
        };
        let states = self.carried.iter().map(copy).collect();
        self.gpu.queue().submit([encoder.finish()]);
        let id = SAVED.fetch_add(1, Ordering::Relaxed);
        self.kept.live.push((id, self.position));
        Saved { id, position: self.position, states }
    }

    /// Goes back to where it was saved.
    ///
    /// # Errors
    /// If it was saved of another model or another number of sequences; or if the model has caches, of which
    /// nothing is copied, and another session saved it, or they were overwritten since from before there on.
    pub fn restore(&mut self, saved: &Saved) -> Result<()> {
        let sizes = self.carried.iter().map(|name| self.buffers[name].size());
        if !sizes.eq(saved.states.iter().map(wgpu::Buffer::size)) {
            return Err(Error::new("what was saved is of another model, or of more or fewer sequences"));
        }
        if self.carried.is_empty() && !self.kept.live.contains(&(saved.id, saved.position)) {
            return Err(Error::new(format!(
                "the caches do not hold, or no longer, the {} positions that were saved",
                saved.position
            )));
        }
        let mut encoder =
            self.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for (name, from) in self.carried.iter().zip(&saved.states) {
            encoder.copy_buffer_to_buffer(from, 0, &self.buffers[name], 0, from.size());
        }
        self.gpu.queue().submit([encoder.finish()]);
        self.position = saved.position;
        self.kept.cut(saved.position);
        Ok(())
    }
}
