//! What buffers hold before the shader runs.

use half::f16;

use super::layout::Variable;
use super::{BufferSetup, Fill, Refused};
use crate::rng::Rng;
use crate::virtual_gpu::program::{BufferDecl, BufferKind, Ty};

/// More than this is not for an interpreter.
pub(super) const MOST_BYTES: u64 = 1 << 28;

/// A buffer before the shader runs.
#[derive(Debug, Clone)]
pub(super) struct Filled {
    /// Its bytes, zero where nothing is written.
    pub bytes: Vec<u8>,
    /// Whether anything is written.
    pub is_written: bool,
    /// Elements of its runtime-sized array.
    pub len: u32,
}

/// Lays a buffer out and fills it.
pub(super) fn fill(
    variable: &Variable,
    decl: &BufferDecl,
    setup: &BufferSetup,
    seed: u64,
) -> Result<Filled, Refused> {
    let name = &variable.name;
    let refuse =
        |field: &str, message: String| Refused::Setup { field: format!("buffers.{name}.{field}"), message };
    let len = match (&variable.runtime, setup.len) {
        (Some(_), Some(len)) => len,
        (None, None) => 0,
        (Some(_), None) => {
            let message =
                format!("the shader does not say how many elements `{name}` has: give their number");
            return Err(refuse("len", message));
        }
        (None, Some(_)) => {
            let message = format!("`{name}` has no runtime-sized array: the shader says how large it is");
            return Err(refuse("len", message));
        }
    };
    let (start, stride) = variable.runtime.as_ref().map_or((0, 0), |r| (r.start, r.stride));
    let bytes = u64::from(start).saturating_add(len.saturating_mul(u64::from(stride)));
    let bytes = bytes.max(u64::from(decl.min_bytes)).max(u64::from(variable.bytes));
    if bytes > MOST_BYTES {
        return Err(refuse("len", format!("`{name}` takes {bytes} bytes, and at most {MOST_BYTES} are run")));
    }
    if len == 0 && stride > 0 {
        return Err(refuse("len", format!("`{name}` cannot have 0 elements: WebGPU binds at least one")));
    }
    if bytes % 4 != 0 {
        let message = format!("{len} elements of `{name}` take {bytes} bytes, which is not a multiple of 4");
        return Err(refuse("len", message));
    }
    let (mut data, len) = (vec![0; bytes as usize], len as u32);
    let fill = setup.fill.as_ref().unwrap_or(match decl.kind {
        BufferKind::ReadWrite => &Fill::Unwritten,
        BufferKind::Read | BufferKind::Uniform => &Fill::Random,
    });
    match fill {
        Fill::Unwritten | Fill::Zero => {}
        Fill::Random => {
            let mut rng = Rng::new(seed ^ Rng::hash(name));
            variable.all(len).for_each(|(at, ty)| put(&mut data, at, &random(ty, &mut rng)));
        }
        Fill::Values(values) => {
            if values.is_empty() {
                return Err(refuse("fill", "a list of values has at least one".into()));
            }
            for ((at, ty), value) in variable.all(len).zip(values.iter().cycle()) {
                let bytes = written(ty, *value).ok_or_else(|| {
                    refuse("fill", format!("{value:?} is no {}, which is what `{name}` holds", type_name(ty)))
                })?;
                put(&mut data, at, &bytes);
            }
        }
    }
    Ok(Filled { bytes: data, is_written: !matches!(fill, Fill::Unwritten), len })
}

fn put(data: &mut [u8], at: u32, bytes: &[u8]) {
    let at = at as usize;
    if let Some(to) = data.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

/// Floats in [-2, 2), unsigned numbers below 256, signed ones from -128 to 127.
fn random(ty: Ty, rng: &mut Rng) -> Vec<u8> {
    match ty {
        Ty::F32 => ((2.0 * rng.signed()) as f32).to_le_bytes().into(),
        Ty::F16 => f16::from_f64(2.0 * rng.signed()).to_le_bytes().into(),
        Ty::I32 => (rng.below(256) as i32 - 128).to_le_bytes().into(),
        Ty::U32 | Ty::Bool => (rng.below(256) as u32).to_le_bytes().into(),
    }
}

/// A value as a type holds it; `None` if it cannot.
fn written(ty: Ty, value: f64) -> Option<Vec<u8>> {
    let whole = value.fract() == 0.0;
    match ty {
        Ty::F32 if value.is_finite() && (value as f32).is_infinite() => None,
        Ty::F32 => Some((value as f32).to_le_bytes().into()),
        Ty::F16 if value.is_finite() && f16::from_f64(value).is_infinite() => None,
        Ty::F16 => Some(f16::from_f64(value).to_le_bytes().into()),
        Ty::I32 if whole && value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX) => {
            Some((value as i32).to_le_bytes().into())
        }
        Ty::U32 | Ty::Bool if whole && value >= 0.0 && value <= f64::from(u32::MAX) => {
            Some((value as u32).to_le_bytes().into())
        }
        Ty::I32 | Ty::U32 | Ty::Bool => None,
    }
}

fn type_name(ty: Ty) -> &'static str {
    match ty {
        Ty::F32 => "f32",
        Ty::F16 => "f16",
        Ty::I32 => "i32",
        Ty::U32 => "u32",
        Ty::Bool => "bool",
    }
}
