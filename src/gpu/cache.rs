//! A pipeline cache: what the driver compiled, for the next run of the program. So far only Vulkan
//! has such caches; elsewhere the driver, the system or the browser keeps its own.

use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::gpu::scope::answer_now;
use crate::profile::Profile;

/// Saved caches begin with this; the number changes when their form does.
const MAGIC: &[u8; 16] = b"tachylite cache1";
/// Magic, then length and check sum of the device's name, then of the data.
const HEAD: usize = 16 + 2 * 16;

impl Gpu {
    /// Begins an empty pipeline cache: the pipelines of every later [`load`](Self::load) go through
    /// it. `false`, and nothing happens, if the device has no such caches.
    ///
    /// # Errors
    /// [`Error::Argument`] if it has a cache already, [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn start_pipeline_cache(&self) -> Result<bool> {
        self.cache_from(None)
    }

    /// [`start_pipeline_cache`](Self::start_pipeline_cache) with what an earlier run saved. Bytes
    /// that were cut off or altered by accident, or saved on another device or driver, are refused,
    /// and an empty cache can be started instead.
    ///
    /// # Errors
    /// As [`start_pipeline_cache`](Self::start_pipeline_cache); [`Error::Argument`] with the reason if
    /// the bytes are refused.
    ///
    /// # Safety
    /// `saved` must be what [`pipeline_cache`](Self::pipeline_cache) returned, or be refused: nobody may have
    /// forged it. Drivers run what they find in it, so keep it where only those may write who may
    /// also replace the program.
    #[allow(unsafe_code, reason = "what the driver is given cannot be checked wholly")]
    pub unsafe fn restore_pipeline_cache(&self, saved: &[u8]) -> Result<bool> {
        let data = opened(saved, &key(self.profile())).map_err(Error::Argument)?;
        self.cache_from(Some(data))
    }

    /// Uses a pipeline cache of the caller's, who also saves it.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is a cache already.
    pub fn use_pipeline_cache(&self, cache: wgpu::PipelineCache) -> Result<()> {
        let had = |_| Error::Argument("pipeline cache: the device has one already".into());
        self.0.cache.set(cache).map_err(had)
    }

    /// What the pipeline cache holds by now, to be saved; `None` if there is no cache. The bytes say
    /// for which device and driver they are, and have a check sum.
    pub fn pipeline_cache(&self) -> Option<Vec<u8>> {
        Some(sealed(&self.0.cache.get()?.get_data()?, &key(self.profile())))
    }

    #[allow(unsafe_code, reason = "wgpu's only way to make a cache")]
    fn cache_from(&self, data: Option<&[u8]>) -> Result<bool> {
        if !self.device().features().contains(wgpu::Features::PIPELINE_CACHE) {
            return Ok(false);
        }
        let (cache, said) = self.scoped(|| {
            let label = Some("pipelines");
            let descriptor = wgpu::PipelineCacheDescriptor { label, data, fallback: true };
            // SAFETY: wgpu wants data that `PipelineCache::get_data` returned. None is; and what was
            // saved is by the promise of `restore_pipeline_cache`'s caller, whom the check sum
            // relieves of accidents. wgpu looks at its own header for the rest, and Vulkan's driver
            // at its UUID.
            unsafe { self.device().create_pipeline_cache(&descriptor) }
        });
        answer_now(said)?;
        self.use_pipeline_cache(cache)?;
        Ok(true)
    }
}

/// The device and driver that a cache is for.
fn key(p: &Profile) -> String {
    format!("{}:{}, {}, vendor {:#x}, device {:#x}", p.backend, p.name, p.driver, p.vendor, p.device)
}

/// Data with the device's name and a check sum.
fn sealed(data: &[u8], key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + key.len() + data.len());
    out.extend_from_slice(MAGIC);
    for part in [key.as_bytes(), data] {
        out.extend((part.len() as u64).to_le_bytes());
        out.extend(check_sum(part).to_le_bytes());
    }
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(data);
    out
}

/// The data in what was saved, or why there is none for this device.
fn opened<'a>(saved: &'a [u8], key: &str) -> Result<&'a [u8], String> {
    let number = |at: usize| Some(u64::from_le_bytes(saved.get(at..at + 8)?.try_into().ok()?));
    let numbers = [16, 24, 32, 40].map(number);
    let [Some(key_bytes), Some(key_sum), Some(data_bytes), Some(data_sum)] = numbers else {
        return Err(format!("pipeline cache: it has {} bytes, which is too few to be one", saved.len()));
    };
    if !saved.starts_with(MAGIC) {
        return Err("pipeline cache: it is something else, or of another version of this library".into());
    }
    let rest = &saved[HEAD..];
    if (rest.len() as u64).checked_sub(key_bytes) != Some(data_bytes) {
        return Err(format!(
            "pipeline cache: {} bytes follow its head, but it says {key_bytes} and {data_bytes}",
            rest.len()
        ));
    }
    let (name, data) = rest.split_at(key_bytes as usize);
    if check_sum(name) != key_sum || check_sum(data) != data_sum {
        return Err("pipeline cache: it was damaged, as its check sum says".into());
    }
    if name != key.as_bytes() {
        let name = String::from_utf8_lossy(name);
        return Err(format!("pipeline cache: it was saved on {name}, but this is {key}"));
    }
    Ok(data)
}

/// FNV-1a, 64 bits: notices accidents.
fn check_sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_and_nothing_else_is() {
        let whole = sealed(b"compiled", "a device");
        assert_eq!(opened(&whole, "a device"), Ok(&b"compiled"[..]));
        assert_eq!(opened(&sealed(b"", ""), ""), Ok(&b""[..]));
        let why = opened(&whole, "another").unwrap_err();
        assert_eq!(why, "pipeline cache: it was saved on a device, but this is another");
        for end in 0..whole.len() {
            assert!(opened(&whole[..end], "a device").is_err(), "{end}");
        }
        for i in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[i] ^= 0x10;
            assert!(opened(&flipped, "a device").is_err(), "byte {i}");
        }
        assert!(opened(&[&whole[..], b"x"].concat(), "a device").is_err());
        assert!(opened(b"WGPUPLCH and so on and so forth, 48 bytes and more", "").is_err());
    }
}
