//! Calls from host tensors to host tensors, on buffers of the executable's own; and those buffers
//! laid open, for whoever checks what kernels did to them. Unlike recording this submits and waits,
//! on a device that was handed over too.

use crate::dim::Call;
use crate::error::{Error, Result};
use crate::gpu::{Executable, Io};
use crate::plan::Role;
use crate::tensor::Tensor;

impl Executable {
    /// Runs one call: checks and uploads the inputs, dispatches, and reads the outputs back, in the
    /// plan's order. The buffers it needs are made by the first call and kept.
    ///
    /// On native targets this blocks the thread while the device works.
    ///
    /// # Errors
    /// [`Error::Argument`] or [`Error::Shape`] for inputs that do not fit, with the tensor, the axis
    /// and both numbers; [`Error::SlotsExhausted`] if recorded calls hold every slot;
    /// [`Error::OutOfMemory`]; [`Error::DeviceLost`], also if the device does not finish.
    pub async fn run(&mut self, inputs: &[(&str, &Tensor)], call: &Call) -> Result<Vec<Tensor>> {
        let loaded = self.loaded.clone();
        let plan = &loaded.plan;
        loaded.gpu.alive()?;
        plan.check_call(call)?;
        let packed = self.pack(inputs, call)?;
        let io = self.own_io().await?;
        let staging = self.take_staging().await?;
        let reads: Vec<_> = plan.outputs.iter().map(|p| (p.buffer, p.bytes_in(call))).collect();
        let (submission, said) = loaded.gpu.scoped(|| {
            for (buffer, bytes) in &packed {
                loaded.gpu.queue().write_buffer(self.own_buffer(*buffer), 0, bytes);
            }
            self.submit(&io, call, &reads, Some(&staging))
        });
        said.await?;
        let total = reads.iter().map(|r| r.1).sum();
        let submits = plan.segments.len() as u32;
        let bytes = loaded.gpu.read_mapped(&staging, total, submission?, submits).await?;
        self.staging = Some(staging);
        let mut rest = bytes.as_slice();
        let unpack = |(port, (_, n)): (&crate::plan::Port, &(usize, u64))| {
            let (mine, others) = rest.split_at(*n as usize);
            rest = others;
            port.unpack(call, mine)
        };
        plan.outputs.iter().zip(&reads).map(unpack).collect()
    }

    /// [`Executable::run`], blocking.
    ///
    /// # Errors
    /// As [`Executable::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&mut self, inputs: &[(&str, &Tensor)], call: &Call) -> Result<Vec<Tensor>> {
        pollster::block_on(self.run(inputs, call))
    }

    /// The inputs as their buffers hold them, with the buffers' places in the plan.
    fn pack(&self, inputs: &[(&str, &Tensor)], call: &Call) -> Result<Vec<(usize, Vec<u8>)>> {
        let plan = &self.loaded.plan;
        if let Some((name, _)) = inputs.iter().find(|(n, _)| plan.inputs.iter().all(|p| p.name != *n)) {
            return Err(Error::Argument(format!("run: there is no input `{name}`")));
        }
        let pack = |port: &crate::plan::Port| {
            let mut given = inputs.iter().filter(|(name, _)| *name == port.name);
            match (given.next(), given.next()) {
                (Some((_, tensor)), None) => Ok((port.buffer, port.pack(&plan.scalars, call, tensor)?)),
                (None, _) => Err(Error::Argument(format!("run: input `{}` was not given", port.name))),
                _ => Err(Error::Argument(format!("run: input `{}` was given twice", port.name))),
            }
        };
        plan.inputs.iter().map(pack).collect()
    }

    /// Submits every segment of a call, and with the last one copies of `reads` into `staging`, one
    /// after the other. Slots of calls that were recorded before stay taken.
    fn submit(
        &mut self,
        io: &Io,
        call: &Call,
        reads: &[(usize, u64)],
        staging: Option<&wgpu::Buffer>,
    ) -> Result<wgpu::SubmissionIndex> {
        let loaded = self.loaded.clone();
        let last = loaded.plan.segments.len().max(1) - 1;
        let mut n = 0;
        loop {
            let steps = loaded.plan.segments.get(n).cloned().unwrap_or(0..0);
            let mut encoder =
                loaded.gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            self.record_segment(&mut pass, io, call, steps)?;
            drop(pass);
            if let Some(staging) = staging.filter(|_| n == last) {
                let mut at = 0;
                for (buffer, bytes) in reads.iter().filter(|r| r.1 > 0) {
                    encoder.copy_buffer_to_buffer(self.own_buffer(*buffer), 0, staging, at, *bytes);
                    at += bytes;
                }
            }
            let submission = loaded.gpu.queue().submit([encoder.finish()]);
            self.pending -= 1;
            if n == last {
                return Ok(submission);
            }
            n += 1;
        }
    }

    /// Buffers of the executable's own for every input and output, bound; made by the first call.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub async fn own_io(&mut self) -> Result<Io> {
        if let Some(io) = &self.own {
            return Ok(io.clone());
        }
        let loaded = self.loaded.clone();
        loaded.gpu.alive()?;
        let (buffers, said) = loaded.gpu.scoped(|| {
            let make = |(i, there): (usize, &Option<wgpu::Buffer>)| {
                let label = loaded.plan.buffer_name(i);
                there.clone().unwrap_or_else(|| loaded.gpu.storage(&label, loaded.bytes(i)))
            };
            self.buffers.iter().enumerate().map(make).map(Some).collect()
        });
        said.await?;
        self.buffers = buffers;
        let ports = loaded.plan.inputs.iter().chain(&loaded.plan.outputs);
        let slices: Vec<_> =
            ports.map(|p| (p.name.as_str(), self.own_buffer(p.buffer).as_entire_buffer_binding())).collect();
        let io = self.bind(&slices)?;
        self.own = Some(io.clone());
        Ok(io)
    }

    /// A buffer, once [`own_io`](Self::own_io) has made them all.
    fn own_buffer(&self, buffer: usize) -> &wgpu::Buffer {
        self.buffers[buffer].as_ref().expect("own_io makes every buffer")
    }

    /// Where outputs are read back through; kept from call to call, but not after an error.
    async fn take_staging(&mut self) -> Result<wgpu::Buffer> {
        if let Some(staging) = self.staging.take() {
            return Ok(staging);
        }
        let plan = &self.loaded.plan;
        self.make_staging(plan.outputs.iter().map(|p| plan.buffers[p.buffer].bytes).sum()).await
    }

    async fn make_staging(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let (staging, said) = self.loaded.gpu.scoped(|| {
            self.loaded.gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("read back"),
                size: bytes.max(16),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        said.await?;
        Ok(staging)
    }

    /// How long a buffer of the plan is, guard bytes included.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such buffer.
    pub fn buffer_bytes(&self, buffer: usize) -> Result<u64> {
        match self.loaded.plan.buffers.get(buffer) {
            Some(_) => Ok(self.loaded.bytes(buffer)),
            None => Err(Error::Argument(format!("the plan has no buffer {buffer}"))),
        }
    }

    /// Writes a buffer from its start: a weight only if the executable was loaded with guard bytes,
    /// since others share it otherwise.
    ///
    /// # Errors
    /// [`Error::Argument`] if the buffer is not there, is shared, or is shorter, or the bytes are
    /// not a multiple of 4.
    pub async fn write_buffer(&mut self, buffer: usize, bytes: &[u8]) -> Result<()> {
        let room = self.buffer_bytes(buffer)?;
        if bytes.len() as u64 > room || !bytes.len().is_multiple_of(4) {
            return Err(Error::Argument(format!(
                "write: buffer {buffer} has {room} bytes, and {} were given, \
                 which must be no more and a multiple of 4",
                bytes.len()
            )));
        }
        let shared = self.loaded.options.guard_bytes == 0;
        if shared && matches!(self.loaded.plan.buffers[buffer].role, Role::Weight(_)) {
            return Err(Error::Argument(format!("write: buffer {buffer} is a weight that others may share")));
        }
        self.own_io().await?;
        let gpu = &self.loaded.gpu;
        let ((), said) = gpu.scoped(|| gpu.queue().write_buffer(self.own_buffer(buffer), 0, bytes));
        said.await
    }

    /// The whole of a buffer, guard bytes included, after everything submitted so far.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such buffer; [`Error::OutOfMemory`]; [`Error::DeviceLost`].
    pub async fn read_buffer(&mut self, buffer: usize) -> Result<Vec<u8>> {
        let bytes = self.buffer_bytes(buffer)?;
        self.own_io().await?;
        let staging = self.make_staging(bytes).await?;
        let gpu = &self.loaded.gpu;
        let (submission, said) = gpu.scoped(|| {
            let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(self.own_buffer(buffer), 0, &staging, 0, bytes);
            gpu.queue().submit([encoder.finish()])
        });
        said.await?;
        gpu.read_mapped(&staging, bytes, submission, self.loaded.plan.segments.len() as u32).await
    }

    /// Runs one call on the executable's own buffers as they are, without waiting.
    ///
    /// # Errors
    /// As [`run`](Self::run), but for those of tensors.
    pub async fn dispatch(&mut self, call: &Call) -> Result<()> {
        let io = self.own_io().await?;
        let gpu = self.loaded.gpu.clone();
        let (submission, said) = gpu.scoped(|| self.submit(&io, call, &[], None));
        said.await?;
        submission.map(|_| ())
    }
}
