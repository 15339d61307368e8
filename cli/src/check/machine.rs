//! What a child runs cases on: an adapter, a runner of exported plans, or a virtual GPU.

use tachylite::virtual_gpu::{Personality, VirtualGpu};

/// The name of the virtual GPU, and what the names of its personalities begin with.
pub(crate) const VIRTUAL: &str = "virtual";

/// The virtual GPU of this name, if the name is one of a virtual GPU. Children share the cores, so
/// each has one thread.
pub(crate) fn virtual_gpu(name: &str) -> Option<Result<VirtualGpu, String>> {
    let personality = match name.strip_prefix(VIRTUAL)? {
        "" => Some(Personality::hostile()),
        rest => Personality::named(rest.strip_prefix(':')?),
    };
    let unknown = || format!("there is no personality `{name}`: {}", known());
    Some(personality.ok_or_else(unknown).map(|p| VirtualGpu::new(p).with_threads(1)))
}

/// The adapters that `--personality NAME` stands for.
pub(crate) fn personalities(name: &str) -> Result<Vec<String>, String> {
    let set = match name {
        "all" => Personality::all(),
        "presets" => Personality::presets(),
        "pairwise" => Personality::pairwise(),
        name => Personality::named(name).into_iter().collect(),
    };
    if set.is_empty() {
        return Err(format!("there is no personality `{name}`: {}", known()));
    }
    Ok(set.iter().map(|p| format!("{VIRTUAL}:{}", p.name)).collect())
}

fn known() -> String {
    let presets: Vec<String> = Personality::presets().into_iter().map(|p| p.name).collect();
    let last = Personality::pairwise().len().saturating_sub(1);
    format!("there are {}, and pair-00 to pair-{last:02}", presets.join(", "))
}
