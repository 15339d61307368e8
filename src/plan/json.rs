//! A plan as a file: JSON that any program can read and run, as `web/runner.js` does. The schema is
//! `web/plan.schema.json`.
//!
//! Numbers that JSON cannot write are text (`"inf"`, `"-inf"`, `"nan"`); every other float is
//! written as the shortest decimal of its exact value, and read back as the same bits.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::kernel::extensions;
use crate::plan::Plan;

/// What a plan's file calls itself.
const FORMAT: &str = "tachylite-plan";
/// The version of the format: the number changes when a reader would have to.
const VERSION: u64 = 2;

/// What a device must have to run a plan, in WebGPU's names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// Limits, as `requestDevice` takes them.
    pub limits: BTreeMap<String, u64>,
    /// Features, sorted.
    pub features: Vec<String>,
    /// Features of the language WGSL, sorted.
    pub language: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    format: Cow<'a, str>,
    version: u64,
    requires: Requirements,
    plan: Cow<'a, Plan>,
}

/// What is read before it is known what the rest looks like.
#[derive(Deserialize)]
struct Head {
    format: Option<String>,
    version: Option<serde_json::Value>,
}

impl Plan {
    /// The plan as the text of a file; [`Plan::from_json`] makes the same plan of it.
    pub fn to_json(&self) -> String {
        let file = File {
            format: FORMAT.into(),
            version: VERSION,
            requires: self.requirements(),
            plan: Cow::Borrowed(self),
        };
        // Numbers, text and lists of them: nothing in a plan can fail to be written.
        serde_json::to_string(&file).unwrap_or_default()
    }

    /// The plan in the text of a file, checked with [`Plan::check_references`]: whatever the file
    /// says, using the plan neither panics nor allocates more than the limits that it is loaded
    /// within.
    ///
    /// # Errors
    /// [`Error::Argument`] in one sentence, with the field and where it is.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::Argument(format!("plan: {what}"));
        let head: Head = serde_json::from_str(text).map_err(|e| wrong(format!("this is no plan: {e}")))?;
        if head.format.as_deref() != Some(FORMAT) {
            let found = head.format.map_or("none".to_owned(), |f| format!("`{f}`"));
            return Err(wrong(format!("the field `format` must be `{FORMAT}`, but it is {found}")));
        }
        if head.version != Some(VERSION.into()) {
            let found = head.version.map_or("none".to_owned(), |v| v.to_string());
            return Err(wrong(format!("version {found} cannot be read here, only version {VERSION}")));
        }
        let read = &mut serde_json::Deserializer::from_str(text);
        let file: File<'_> = serde_path_to_error::deserialize(read)
            .map_err(|e| wrong(format!("{}: {}", e.path(), e.inner())))?;
        let plan = file.plan.into_owned();
        plan.check_references()?;
        let uses = |k: &&crate::kernel::Composed| k.extensions.iter().any(|e| e == extensions::MATRICES);
        if let Some(kernel) = plan.kernels.iter().find(uses) {
            return Err(wrong(format!(
                "{} uses cooperative matrices, whose accesses nothing checks: no file may",
                kernel.name
            )));
        }
        let total = plan.buffers.iter().fold(0, |sum: u64, b| sum.saturating_add(b.bytes));
        if total != plan.peak_bytes {
            return Err(wrong(format!("its buffers hold {total} bytes, but it says {}", plan.peak_bytes)));
        }
        if plan.requirements() != file.requires {
            return Err(wrong(format!(
                "`requires` says {:?}, but the plan needs {:?}",
                file.requires,
                plan.requirements()
            )));
        }
        Ok(plan)
    }

    /// What a device must have to run the plan.
    pub fn requirements(&self) -> Requirements {
        let most =
            |of: &dyn Fn(&crate::kernel::Composed) -> u64| self.kernels.iter().map(of).max().unwrap_or(0);
        let buffer = self.buffers.iter().map(|b| b.bytes).max().unwrap_or(0);
        let workgroups = self.steps.iter().map(|s| s.workgroups.max(&self.scalars)).max().unwrap_or(0);
        let invocations = most(&|k| u64::from(k.workgroup_size));
        let limits = [
            ("maxStorageBuffersPerShaderStage", most(&|k| k.bindings.len() as u64)),
            ("maxStorageBufferBindingSize", buffer),
            ("maxBufferSize", buffer),
            ("maxComputeWorkgroupStorageSize", most(&|k| u64::from(k.workgroup_bytes))),
            ("maxComputeInvocationsPerWorkgroup", invocations),
            ("maxComputeWorkgroupSizeX", invocations),
            // Grids are folded over two axes.
            ("maxComputeWorkgroupsPerDimension", workgroups.isqrt() + u64::from(!is_square(workgroups))),
        ];
        let mut used: Vec<&str> =
            self.kernels.iter().flat_map(|k| &k.extensions).map(AsRef::as_ref).collect();
        used.sort_unstable();
        used.dedup();
        let (enabled, language): (Vec<&str>, Vec<&str>) =
            used.iter().partition(|e| extensions::feature(e).is_some());
        Requirements {
            limits: limits.map(|(name, n)| (name.to_owned(), n)).into(),
            features: enabled.iter().filter_map(|e| extensions::feature(e)).map(str::to_owned).collect(),
            language: language.iter().map(|e| (*e).to_owned()).collect(),
        }
    }
}

fn is_square(n: u64) -> bool {
    n.isqrt().checked_mul(n.isqrt()) == Some(n)
}

/// A float that may be infinite.
pub(super) mod float {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Name(String),
    }

    pub fn serialize<S: Serializer>(v: &f64, s: S) -> Result<S::Ok, S::Error> {
        if v.is_finite() { v.serialize(s) } else { v.to_string().to_lowercase().serialize(s) }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        match Written::deserialize(d).map_err(|_| D::Error::custom("this is no number"))? {
            Written::Number(v) => Ok(v),
            Written::Name(name) => match name.as_str() {
                "inf" => Ok(f64::INFINITY),
                "-inf" => Ok(f64::NEG_INFINITY),
                "nan" => Ok(f64::NAN),
                _ => Err(D::Error::custom(format!("`{name}` is no number"))),
            },
        }
    }
}

/// An f32, written as the f64 of its value.
pub(super) mod float32 {
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    use super::float;

    pub fn serialize<S: Serializer>(v: &f32, s: S) -> Result<S::Ok, S::Error> {
        float::serialize(&f64::from(*v), s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
        let v = float::deserialize(d)?;
        let single = v as f32;
        if v.is_nan() || f64::from(single) == v {
            Ok(single)
        } else {
            Err(D::Error::custom(format!("{v} is no f32")))
        }
    }
}

/// The estimated time of a candidate, or why it does not fit.
pub(super) mod estimate {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Estimate<'a> {
        Seconds(#[serde(with = "super::float")] f64),
        Refused(Cow<'a, str>),
    }

    pub fn serialize<S: Serializer>(v: &Result<f64, String>, s: S) -> Result<S::Ok, S::Error> {
        match v {
            Ok(seconds) => Estimate::Seconds(*seconds).serialize(s),
            Err(why) => Estimate::Refused(why.into()).serialize(s),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Result<f64, String>, D::Error> {
        Ok(match Estimate::deserialize(d)? {
            Estimate::Seconds(seconds) => Ok(seconds),
            Estimate::Refused(why) => Err(why.into_owned()),
        })
    }
}
