//! A machine in another program: exported plans and buffers go to a WebGPU that is not wgpu, through
//! `web/check.mjs`, and what the buffers hold comes back. Its messages are described in `web/check.js`.

use std::cell::RefCell;
use std::io::{Error as IoError, Result as IoResult};
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tachylite::check::{Fill, Machine};
use tachylite::plan::prepare::Weights;
use tachylite::profile::{DeviceKind, Features, Limits, Speeds};
use tachylite::{Call, Error, Plan, Profile, Result, web};

use super::text;
use super::wire::{Ended, Wire};

/// How long a browser may take to open.
const OPEN: Duration = Duration::from_secs(100);

/// Where exported plans can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Runner {
    /// Dawn in Node, through the npm package `webgpu`
    Node,
    /// Headless Chromium, which Node starts
    Chromium,
}

impl Runner {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Chromium => "chromium",
        }
    }

    /// The runner of an adapter, by its full name.
    pub fn of(adapter: &str) -> Option<Self> {
        let (backend, _) = adapter.split_once(':')?;
        [Self::Node, Self::Chromium].into_iter().find(|r| r.name() == backend)
    }
}

/// A device behind a runner.
pub(crate) struct Remote {
    profile: Profile,
    wire: RefCell<Wire>,
    /// Plans that are not needed any more, for the next message.
    dropped: Rc<RefCell<Vec<u64>>>,
    timeout: Duration,
}

/// A plan on the far side.
pub(crate) struct Loaded {
    id: u64,
    /// The length of each of its buffers.
    bytes: Vec<u64>,
    dropped: Rc<RefCell<Vec<u64>>>,
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.dropped.borrow_mut().push(self.id);
    }
}

impl Remote {
    /// Starts a runner and waits for its device.
    pub fn open(runner: Runner, timeout: Duration) -> std::result::Result<Self, String> {
        let folder = Folder::make().map_err(|e| format!("the runner cannot be written: {e}"))?;
        let mut command = Command::new("node");
        command.arg(folder.0.join("check.mjs")).arg(runner.name());
        let mut wire = Wire::start(command).map_err(|e| format!("node does not start: {e}"))?;
        let (hello, _) = wire.hear(OPEN).map_err(|ended| ended.why())?;
        match hello.get("opened") {
            Some(opened) => Ok(Self {
                profile: profile(runner, opened),
                wire: RefCell::new(wire),
                dropped: Rc::default(),
                timeout,
            }),
            None => Err(text(&hello, "refused").to_owned()),
        }
    }

    /// How the runner ended, if it did.
    pub fn ended(&self) -> Option<Ended> {
        self.wire.borrow().ended()
    }

    fn ask(&self, mut header: Value, blobs: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        header["drop"] = json!(self.dropped.take());
        let mut wire = self.wire.borrow_mut();
        wire.say(header, blobs);
        let (header, blobs) = wire.hear(self.timeout).map_err(|ended| Error::DeviceLost(ended.why()))?;
        if let Some(why) = header.get("refused").and_then(Value::as_str) {
            return Err(Error::DeviceLost(why.to_owned()));
        }
        let Some(error) = header.get("error") else { return Ok(blobs) };
        let message = text(error, "message").to_owned();
        Err(match text(error, "kind") {
            "limit" => Error::Limit(message),
            "out-of-memory" => Error::OutOfMemory(message),
            "validation" => Error::Validation(message),
            "lost" => Error::DeviceLost(message),
            _ => Error::Argument(message),
        })
    }
}

impl Machine for Remote {
    type Loaded = Loaded;

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn load(&self, plan: &Plan, _: &Weights, guard_bytes: u64) -> Result<Loaded> {
        plan.check_references()?;
        plan.check_limits(&self.profile.limits, guard_bytes)?;
        let id = self.wire.borrow().said();
        let file = plan.to_json();
        let bytes = plan.buffers.iter().map(|b| b.bytes.max(16) + guard_bytes).collect();
        // Made first, so that a plan that was refused half way is dropped too.
        let loaded = Loaded { id, bytes, dropped: self.dropped.clone() };
        self.ask(json!({ "op": "load", "id": id, "guard": guard_bytes }), &[file.as_bytes()])?;
        Ok(loaded)
    }

    fn run(
        &self,
        loaded: &mut Loaded,
        call: &Call,
        fills: &[(usize, Fill<'_>)],
        reads: &[usize],
    ) -> Result<Vec<Vec<u8>>> {
        let scalars: Vec<u8> = call.values().iter().flat_map(|v| v.to_le_bytes()).collect();
        let (mut told, mut blobs) = (Vec::new(), vec![scalars.as_slice()]);
        for (buffer, fill) in fills {
            match fill {
                Fill::Bytes(bytes) => {
                    told.push(json!([buffer, bytes.len()]));
                    blobs.push(bytes);
                }
                Fill::Pattern(word) => told.push(json!([buffer, null, u32::from_le_bytes(*word)])),
            }
        }
        let header = json!({ "op": "run", "id": loaded.id, "fills": told, "reads": reads });
        let read = self.ask(header, &blobs)?;
        let lengths = reads.iter().map(|i| loaded.bytes.get(*i).copied().unwrap_or(0));
        if read.iter().map(|b| b.len() as u64).eq(lengths) {
            return Ok(read);
        }
        Err(Error::DeviceLost("the runner sent buffers of another length than it was asked for".into()))
    }
}

/// What the far side says that its device is.
fn profile(runner: Runner, opened: &Value) -> Profile {
    let limit = |name: &str| opened["limits"].get(name).and_then(Value::as_u64).unwrap_or(0);
    let small = |name: &str| u32::try_from(limit(name)).unwrap_or(u32::MAX);
    let has = |name: &str| opened["features"].as_array().is_some_and(|f| f.iter().any(|n| n == name));
    let subgroup = |i: usize| opened["subgroups"][i].as_u64().map_or(0, |n| n as u32);
    let adapter = text(opened, "name");
    let software = ["swiftshader", "llvmpipe"].iter().any(|n| adapter.to_lowercase().contains(n));
    let kind = if software { DeviceKind::Cpu } else { DeviceKind::Other };
    let mut profile = Profile {
        name: if runner == Runner::Node { format!("dawn {adapter}") } else { adapter.to_owned() },
        backend: runner.name().into(),
        driver: text(opened, "driver").to_owned(),
        vendor: 0,
        device: 0,
        kind,
        features: Features {
            shader_f16: has("shader-f16"),
            shader_int64: false, // naga's alone
            subgroup: has("subgroups"),
            timestamp_query: has("timestamp-query"),
            matrix_8: false,
            matrix_16: false,
        },
        limits: Limits {
            storage_buffers_per_stage: small("maxStorageBuffersPerShaderStage"),
            storage_binding_bytes: limit("maxStorageBufferBindingSize"),
            buffer_bytes: limit("maxBufferSize"),
            workgroup_bytes: small("maxComputeWorkgroupStorageSize"),
            workgroup_invocations: small("maxComputeInvocationsPerWorkgroup"),
            workgroups_per_axis: small("maxComputeWorkgroupsPerDimension"),
            uniform_offset_alignment: small("minUniformBufferOffsetAlignment"),
        },
        subgroup_sizes: (subgroup(0), subgroup(1)),
        speeds: Speeds::guess(kind),
        quirks: Vec::new(),
        tuning: None,
    };
    profile.quirks = tachylite::quirks::of(&profile);
    profile
}

/// The runner's files, in a folder that is there until it has started.
struct Folder(PathBuf);

impl Folder {
    fn make() -> IoResult<Self> {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_err(IoError::other)?;
        let name = format!("tachylite-runner-{}-{}", std::process::id(), since.as_nanos());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0)?;
        for (name, text) in web::CHECK {
            std::fs::write(folder.0.join(name), text)?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // a folder that stays does no harm
    }
}
