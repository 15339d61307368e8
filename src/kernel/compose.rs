//! From shader file to WGSL that a device takes: knobs, linked pieces, chains, bindings, unrolling.
//!
//! Text in, text out, always the same; every line knows where it came from. A file that does not
//! say what the host expects is our bug and panics with the kernel's name.

use std::borrow::Cow;

use super::source::{self, Source, text_of};
use super::unroll::{keep, unroll};
use super::{Kernel, Site, chain, extensions, link};
use crate::dtype::DType;
use crate::formats::CacheForm;
use crate::op::Attr;
use crate::ops::{dequantize_blocks, rows};

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    Write,
}

/// A storage binding of a composed kernel; its place in the list is its number in group 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct BindingDecl {
    /// The variable's name: a tensor of the signature, a plane of it, or a chain's operand.
    pub name: String,
    /// How it is used.
    pub access: Access,
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ParamKind {
    /// `u32`.
    U32,
    /// `f32`.
    F32,
}

/// A field of the kernel's `Params`, a uniform at group 1, binding 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ParamDecl {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ParamKind,
}

/// WGSL that a device takes, with what a host must know of it. The entry point is `main`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Composed {
    /// The kernel it was made from.
    pub name: Cow<'static, str>,
    /// The text.
    pub wgsl: String,
    /// Its storage bindings: group 0, numbered from 0.
    pub bindings: Vec<BindingDecl>,
    /// Its parameters: 4 bytes each, in order.
    pub params: Vec<ParamDecl>,
    /// Invocations in a workgroup.
    pub workgroup_size: u32,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Where each line of the text comes from: file and line.
    pub lines: Vec<(Cow<'static, str>, u32)>,
    /// Extensions of WGSL that the text uses, sorted; see [`extensions`].
    pub extensions: Vec<Cow<'static, str>>,
}

/// A line with where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub text: String,
    pub file: &'static str,
    pub number: u32,
}

const GENERATED: &str = "(generated)";

/// The knob of a kernel that loads words of `w` and of its scales in pairs.
pub(crate) const WIDE: (&str, &str) = ("w_group", "u64");
/// Likewise `x`, of f32.
pub(crate) const WIDE_X: (&str, &str) = ("x_group", "vec2<u64>");

/// Composes a kernel for one place in a graph: itself, not those dispatched before it. Chains go where its
/// file calls their hook.
///
/// # Panics
/// With the kernel's name, if its file and its declaration disagree.
pub fn compose(kernel: &Kernel, site: &Site<'_>) -> Composed {
    let mut text = Text { kernel: kernel.name, lines: lines_of((kernel.file, kernel.source)) };
    let knobs = (kernel.knobs)(site);
    text.link(site, &knobs);
    for (name, value) in &knobs {
        text.set_knob(name, value);
    }
    text.add_chain("pre", site.pre);
    text.add_chain("post", site.post);
    text.add_accessors(site, &knobs);
    text.add_functions(source::FUNCTIONS);
    text.finish()
}

/// Composes a file that stands for no op: its knobs, its loops, nothing linked.
///
/// # Panics
/// With the name, if the file does not say what is expected of it.
pub(crate) fn compose_alone(name: &'static str, file: Source, knobs: &[(&str, String)]) -> Composed {
    let mut text = Text { kernel: name, lines: lines_of(file) };
    for (knob, value) in knobs {
        text.set_knob(knob, value);
    }
    text.finish()
}

/// Whether a file that a kernel dispatches calls a hook (`pre` or `post`), so that chains can ride along.
pub fn has_hook(kernel: &Kernel, hook: &str) -> bool {
    kernel.stages().any(|k| k.source.contains(&format!("apply4_{hook}(")))
}

/// The lines of a file.
fn lines_of(file: Source) -> Vec<Line> {
    lines(file.0, &text_of(file))
}

fn lines(file: &'static str, source: &str) -> Vec<Line> {
    (1..).zip(source.lines()).map(|(number, l)| Line { text: l.to_owned(), file, number }).collect()
}

pub(super) struct Text {
    pub(super) kernel: &'static str,
    pub(super) lines: Vec<Line>,
}

impl Text {
    /// What a device takes, once everything is in the text.
    fn finish(mut self) -> Composed {
        self.lines = keep(self.kernel, self.lines);
        let bindings = self.number_bindings();
        let params = if self.calls("struct Params {") { self.params() } else { Vec::new() };
        self.lines = unroll(self.kernel, self.lines);
        let (workgroup_size, workgroup_bytes) = (self.workgroup_size(), self.workgroup_bytes());
        let mut wgsl = String::new();
        for line in &self.lines {
            wgsl.push_str(&line.text);
            wgsl.push('\n');
        }
        Composed {
            name: self.kernel.into(),
            extensions: extensions::used(&wgsl),
            wgsl,
            bindings,
            params,
            workgroup_size,
            workgroup_bytes,
            lines: self.lines.iter().map(|l| (l.file.into(), l.number)).collect(),
        }
    }

    pub(super) fn fail(&self, what: &str) -> ! {
        panic!("{}: {what}", self.kernel)
    }

    fn append(&mut self, piece: Source) {
        self.lines.extend(lines_of(piece));
    }

    fn calls(&self, function: &str) -> bool {
        self.lines.iter().any(|l| l.text.contains(function))
    }

    fn push(&mut self, text: &str) {
        self.lines.extend(lines(GENERATED, text));
    }

    /// Appends the pieces of `shaders/lib/` that the file calls.
    fn link(&mut self, site: &Site<'_>, knobs: &[(&str, String)]) {
        let has = |name: &str, value: &str| knobs.iter().any(|(n, v)| *n == name && v == value);
        let eight = self.calls("fetch_w(") && has("SIDE", "8u");
        let keeps = site.profile.kind == crate::profile::DeviceKind::Cpu;
        let w = site.arg("w").map(|w| w.dtype);
        let pieces = source::weights(w, keeps, |name| self.calls(name));
        pieces.into_iter().for_each(|piece| self.append(piece));
        let given = |name: &str| site.arg(name).is_some();
        if self.calls("whole_w(") {
            self.append(source::whole(w));
        }
        if self.calls("column_scale4(") || self.calls("scale_at(") {
            self.append(if given("w_scale") { source::SCALE_INT8 } else { source::SCALE_NONE });
        }
        let handing = rows::handing(site.profile).is_some();
        let quads = rows::has_quads(site.profile);
        let softcap = site.attrs.iter().any(|(name, a)| *name == "softcap" && *a != Attr::F32(0.0));
        let panels = site.arg("w").is_some_and(|w| w.panels);
        let gates = given("up") || site.attr_u32("gates") > 0;
        let slices = site.op == &crate::ops::matmul::MATMUL_SLICES;
        for (function, piece) in [
            ("score_of(", source::HEADS_OF_GROUP), // first, for it calls others
            ("gated(", if gates { source::GATE_GIVEN } else { source::GATE_NONE }),
            ("capped(", if softcap { source::SOFTCAP_GIVEN } else { source::SOFTCAP_NONE }),
            ("share_of(", source::SHARES),
            ("team_sum(", if rows::by_subgroup(site) { source::TEAM_SUBGROUP } else { source::TEAM_MEMORY }),
            ("quad_max(", if quads { source::QUAD_SUBGROUP } else { source::QUAD_MEMORY }),
            ("x_slice(", if slices { source::SLICES_GIVEN } else { source::SLICES_NONE }),
            ("w_column(", if panels { source::COLUMN_PANEL } else { source::COLUMN_STRIDED }),
            ("fetch_w(", if eight { source::fetch_eight(w) } else { source::FETCH_ONE }),
            ("combine(", source::COMBINE),
            ("handed(", if handing { source::HANDED_SUBGROUP } else { source::HANDED_NONE }),
            ("keep4(", if site.attr_u32("form") > 0 { source::KEEP_CODES } else { source::KEEP_PLAIN }),
        ]
        .into_iter()
        .chain(source::ALONE)
        .chain(
            source::BY_TENSOR
                .iter()
                .map(|(f, name, piece, none)| (*f, if given(name) { *piece } else { *none })),
        )
        .chain([("first_row(", source::starts(given))])
        {
            if self.calls(function) {
                self.append(piece);
            }
        }
        self.link_caches(site);
        if self.calls("four_of(") {
            let reading = dequantize_blocks::reading(site);
            if reading.contains("fn part_scale(") {
                self.append(source::FOUR_PLANES);
            }
            self.push(&reading);
            self.add_functions(source::BLOCKS);
        }
        if self.calls("entry(") {
            self.append(source::LIST_GIVEN);
        }
        if self.calls("rows4(") {
            let tables = ["table0", "table1", "table2"].into_iter().map_while(|name| site.arg(name));
            let tables: Vec<_> = tables.map(|t| t.dtype).collect();
            for (file, text) in source::tables(&tables) {
                self.lines.extend(lines(file, &text));
            }
        }
        self.link_words(eight, has(WIDE.0, WIDE.1));
    }

    /// Appends how words of weights are read: one, of eight columns, or pairs of those.
    fn link_words(&mut self, eight: bool, wide: bool) {
        let words = match (eight, wide) {
            (true, true) => source::WORDS_WIDE,
            (true, false) => source::WORDS_EIGHT,
            (false, _) => source::WORDS_ONE,
        };
        for name in ["w", "w_scale", "table0", "table0_scale"] {
            if self.calls(&format!("word_{name}(")) || self.calls(&format!("field_{name}(")) {
                self.append_renamed(words, name);
            }
        }
    }

    /// Appends how rows of keys and values are read, by the forms that the site's attributes number.
    fn link_caches(&mut self, site: &Site<'_>) {
        for (name, form) in [("k", "k_form"), ("v", "v_form")] {
            let form = CacheForm::from_number(site.attr_u32(form));
            if self.calls(&format!("four_{name}(")) {
                self.append_renamed(source::rows(form), name);
            }
            if form.is_some() && self.calls(&format!("touch_{name}(")) {
                self.append_renamed(source::TOUCH_WORD, name);
            }
        }
    }

    /// Replaces the value on the one line that declares a knob.
    fn set_knob(&mut self, name: &str, value: &str) {
        let declares = |l: &Line| {
            let rest = l.text.strip_prefix("const ").or_else(|| l.text.strip_prefix("alias "));
            rest.is_some_and(|r| r.strip_prefix(name).is_some_and(|r| r.starts_with([':', ' '])))
                && l.text.contains("// knob")
        };
        let found: Vec<_> = (0..self.lines.len()).filter(|i| declares(&self.lines[*i])).collect();
        let &[at] = found.as_slice() else {
            self.fail(&format!("knob `{name}` is declared {} times", found.len()))
        };
        let text = &self.lines[at].text;
        let (Some(equals), Some(end)) = (text.find('='), text.find(';')) else {
            self.fail(&format!("knob `{name}` has no value"))
        };
        self.lines[at].text = format!("{} {value}{}", &text[..=equals], &text[end..]);
    }

    /// Appends a chain's function, operands and params, if the file calls it.
    fn add_chain(&mut self, hook: &str, links: &[chain::Link]) {
        if !self.calls(&format!("apply4_{hook}(")) {
            return;
        }
        self.push(&chain::wgsl(hook, links));
        for (i, dtype) in chain::operands(links).into_iter().enumerate() {
            let group = source::group_type(dtype);
            self.push(&format!("@group(0) @binding(0) var<storage, read> {hook}{i}: array<{group}>;\n"));
            self.add_load(&format!("{hook}{i}"), dtype);
        }
        let params = chain::params(hook, links);
        if !params.is_empty() {
            let end = self.params_range().1;
            let fields: Vec<_> = params.iter().map(|(name, kind)| format!("{name}: {kind},")).collect();
            let line = Line { text: format!("    {}", fields.join(" ")), file: GENERATED, number: 1 };
            self.lines.insert(end, line);
        }
    }

    /// Sets the element types of the file's tensors and appends how to read or write them.
    fn add_accessors(&mut self, site: &Site<'_>, knobs: &[(&str, String)]) {
        for (name, access) in self.bindings().into_iter().map(|(_, b)| (b.name, b.access)) {
            let alias = format!("{name}_group");
            let Some(arg) = site.arg(&name) else { continue };
            if !self.lines.iter().any(|l| l.text.starts_with(&format!("alias {alias} "))) {
                continue; // indices and lengths, which are plain u32
            }
            let own = knobs.iter().any(|(knob, _)| *knob == alias);
            if !own {
                self.set_knob(&alias, source::group_type(arg.dtype));
            }
            match access {
                Access::Read if own && arg.dtype == DType::F32 => {
                    self.append_renamed(source::LOAD_F32_WIDE, &name);
                }
                Access::Read if own && arg.dtype == DType::F16 => {
                    self.append_renamed(source::LOAD_F16_WIDE, &name);
                }
                // Rows of a quantised cache are read by pieces of their own.
                Access::Read if !self.calls(&format!("load4_{name}(")) => {}
                Access::Read => self.add_load(&name, arg.dtype),
                Access::Write => {
                    if site.op.changes().any(|(_, o)| site.op.outputs[o].name == name)
                        && self.calls(&format!("load4_{name}("))
                    {
                        self.add_load(&name, arg.dtype);
                    }
                    let packs_nan = site.profile.quirks.iter().any(|q| q.packs_nan);
                    if let Some(piece) = source::store(arg.dtype, packs_nan) {
                        self.append_renamed(piece, &name);
                    }
                }
            }
        }
    }

    /// Appends the functions of a file that are called.
    fn add_functions(&mut self, (file, source): Source) {
        let source = text_of((file, source));
        let all = lines(file, &source);
        let text = self.lines.iter().map(|l| l.text.as_str());
        for range in link::called(text, &source) {
            self.lines.push(Line { text: String::new(), file, number: *range.start() as u32 + 1 });
            self.lines.extend_from_slice(&all[range]);
        }
    }

    fn add_load(&mut self, name: &str, dtype: DType) {
        if let Some(piece) = source::load(dtype) {
            self.append_renamed(piece, name);
        }
    }

    fn append_renamed(&mut self, piece: Source, name: &str) {
        let source = text_of(piece).replace("_t(", &format!("_{name}(")).replace(" t_", &format!(" {name}_"));
        let source = source.replace(" t[", &format!(" {name}[")).replace("(t[", &format!("({name}["));
        self.lines.extend(lines(piece.0, &source));
    }
}

/// A literal, the value of a module constant, or that and at least 1, as arrays are long.
pub(crate) fn number<'a>(mut lines: impl Iterator<Item = &'a str>, text: &str) -> Option<u32> {
    let text = text.trim();
    if let Some(name) = text.strip_prefix("max(").and_then(|rest| rest.strip_suffix(", 1u)")) {
        return Some(number(lines, name)?.max(1));
    }
    if let Ok(n) = text.trim_end_matches('u').parse() {
        return Some(n);
    }
    let prefix = format!("const {text}: u32 = ");
    lines.find_map(|l| l.strip_prefix(&prefix)?.split(['u', ';']).next()?.parse().ok())
}
