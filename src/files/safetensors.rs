//! safetensors: types and rules are the crate's; what it does not check, or not name, is checked here first.
//!
//! The crate takes the last of two tensors with one name, and says of most faults neither tensor nor place. So the
//! header is walked here with the place at hand, and the crate has the last word on what that gives.

use std::fmt;

use ::safetensors::tensor::{Metadata, TensorInfo as Theirs};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, IntoDeserializer, MapAccess, Visitor};

use super::cursor::{Cursor, Stop};
use super::value::Value;
use super::{Contents, Encoding, Format, HEADER_MAX, NAME_MAX, Part, TensorInfo, gguf, shown};

/// Axes that a tensor may have.
const AXES_MAX: usize = 8;
/// More tensors than any model has.
const TENSORS_MAX: usize = 1_000_000;
/// The key of the strings that say what the file is about.
const METADATA: &str = "__metadata__";

/// Reads a file's header from its first bytes; `total` is how long the file is.
pub(super) fn read(file: &str, bytes: &[u8], total: u64) -> Result<Contents, Stop> {
    let mut c = Cursor::new(file, bytes, total);
    let n = c.u64(format_args!("header length"))?;
    if n > HEADER_MAX.min(c.total - 8) {
        let what =
            format_args!("is {n}, but {} bytes follow, and at most {HEADER_MAX} are read", c.total - 8);
        return Err(c.wrong(0, format_args!("header length"), what));
    }
    let text = c.take(n, format_args!("header"))?;
    let text = std::str::from_utf8(text).map_err(|e| {
        c.wrong(8 + e.valid_up_to() as u64, format_args!("header"), format_args!("is not UTF-8"))
    })?;
    let start = 8 + n;
    let header = walk(&c, text, total - start)?;
    let mut tensors = header.tensors;
    check_order(&c, &tensors, start, total - start)?;
    agree(&c, &tensors)?;
    for t in &mut tensors {
        t.range = start + t.range.start..start + t.range.end;
    }
    let part = Part { name: file.to_owned(), bytes: total };
    let metadata = header.metadata;
    Ok(Contents {
        format: Format::Safetensors,
        metadata,
        tensors,
        parts: vec![part],
        sorted: Vec::new(),
        places: Vec::new(),
    })
}

/// Our own walk, with a place for every fault.
fn walk(c: &Cursor<'_>, text: &str, data: u64) -> Result<Header, Stop> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let header = HeaderSeed { data, again: None }.deserialize(tracked).and_then(|h| json.end().map(|()| h));
    let header = header.map_err(|e| {
        let at = 8 + place(text, e.line(), e.column());
        let what = e.to_string();
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
        match track.path().to_string().as_str() {
            "." => c.wrong(at, format_args!("header"), format_args!("{what}")),
            path => c.wrong(at, format_args!("header, `{}`", shown(path)), format_args!("{what}")),
        }
    })?;
    let twice = gguf::twice(header.tensors.len(), |i| header.tensors[i].name.as_str());
    if let Some((_, again)) = twice {
        let t = &header.tensors[again];
        let what = format_args!("is there already");
        // Names have no places in what was read; where this one ends, a second walk stops.
        let second = HeaderSeed { data, again: Some(again) };
        let stopped = second.deserialize(&mut serde_json::Deserializer::from_str(text)).err();
        let at = stopped.map_or(8, |e| 8 + place(text, e.line(), e.column()));
        return Err(c.wrong(at, format_args!("header, tensor `{}`", shown(&t.name)), what));
    }
    Ok(header)
}

/// The byte at a line and column of JSON, both counted from 1.
pub(super) fn place(text: &str, line: usize, column: usize) -> u64 {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column.saturating_sub(1)) as u64
}

/// The data are covered without gaps, and no byte belongs to two tensors.
fn check_order(c: &Cursor<'_>, tensors: &[TensorInfo], start: u64, data: u64) -> Result<(), Stop> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_unstable_by_key(|t| (t.range.start, t.range.end));
    let mut end = 0;
    for t in order {
        if t.range.start != end {
            let how = if t.range.start < end { "overlaps another tensor" } else { "leaves a gap" };
            let what = format_args!("{how}: begins at {} of the data, but should at {end}", t.range.start);
            return Err(c.wrong(start + t.range.start, format_args!("data of `{}`", shown(&t.name)), what));
        }
        end = t.range.end;
    }
    if end != data {
        let what = format_args!("{data} bytes follow the header, but the tensors take {end}");
        return Err(c.wrong(start + end, format_args!("data"), what));
    }
    Ok(())
}

/// The crate has nothing against these tensors either. It is given what was read, and not the text, which it would
/// take apart into many times its size.
fn agree(c: &Cursor<'_>, tensors: &[TensorInfo]) -> Result<(), Stop> {
    let mut theirs = Vec::with_capacity(tensors.len());
    for t in tensors {
        let whole = |n: u64| usize::try_from(n).ok();
        let ends = whole(t.range.start).zip(whole(t.range.end));
        let (Some(data_offsets), Some(dtype)) = (ends, dtype(t.encoding.name)) else {
            let what = format_args!("safetensors has no such tensor here");
            return Err(c.wrong(8, format_args!("header, tensor `{}`", shown(&t.name)), what));
        };
        theirs.push((t.name.clone(), Theirs { dtype, shape: t.shape.clone(), data_offsets }));
    }
    theirs.sort_by_key(|(_, t)| t.data_offsets);
    match Metadata::new(None, theirs) {
        Ok(_) => Ok(()),
        Err(e) => Err(c.wrong(8, format_args!("header"), format_args!("safetensors refuses it: {e}"))),
    }
}

/// The crate's type of that name.
fn dtype(name: &str) -> Option<::safetensors::Dtype> {
    let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    ::safetensors::Dtype::deserialize(name).ok()
}

struct Header {
    metadata: Vec<(String, Value)>,
    /// With ranges of the data, not yet of the file.
    tensors: Vec<TensorInfo>,
}

/// `data` is how many bytes follow the header.
struct HeaderSeed {
    data: u64,
    /// The tensor, by number, at whose name to stop.
    again: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for HeaderSeed {
    type Value = Header;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Header, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header { metadata: Vec::new(), tensors: Vec::new() };
        let mut described = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                if std::mem::replace(&mut described, true) {
                    return Err(A::Error::custom("is there already"));
                }
                header.metadata = map.next_value::<Strings>()?.0;
                continue;
            }
            if self.again == Some(header.tensors.len()) {
                return Err(A::Error::custom("is there already"));
            }
            if name.len() > NAME_MAX {
                let n = name.len();
                return Err(A::Error::custom(format!(
                    "a name has {n} bytes, but at most {NAME_MAX} are read"
                )));
            }
            if header.tensors.len() == TENSORS_MAX {
                return Err(A::Error::custom(format!("at most {TENSORS_MAX} tensors are read")));
            }
            let entry: Entry = map.next_value()?;
            let tensor = entry.check(self.data);
            let tensor = tensor.map_err(|e| A::Error::custom(format!("tensor `{}`: {e}", shown(&name))))?;
            header.tensors.push(TensorInfo { name, ..tensor });
        }
        Ok(header)
    }
}

/// One tensor's entry, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: ::safetensors::Dtype,
    shape: Shape,
    data_offsets: (u64, u64),
}

impl Entry {
    fn check(self, data: u64) -> Result<TensorInfo, String> {
        let Self { dtype, shape: Shape(shape), data_offsets: (begin, end) } = self;
        let encoding =
            Encoding::by_name(&dtype.to_string()).ok_or_else(|| format!("dtype {dtype} is not known"))?;
        let bytes = encoding.byte_len(&shape).ok_or_else(|| {
            format!("shape: {encoding} {shape:?} takes more than 2^64 bytes, or no whole number of them")
        })?;
        if begin > end || end > data {
            return Err(format!("data_offsets: {begin} to {end} do not lie in the {data} bytes of data"));
        }
        if end - begin != bytes {
            let n = end - begin;
            return Err(format!("data_offsets: are {n} bytes, but {encoding} {shape:?} takes {bytes}"));
        }
        Ok(TensorInfo { name: String::new(), encoding, shape, part: 0, range: begin..end })
    }
}

/// Sizes of axes, no more of them than a tensor may have, however many the file lists.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl<'de> Visitor<'de> for Sizes {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {AXES_MAX} sizes")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut sizes = Vec::new();
                while let Some(size) = seq.next_element::<usize>()? {
                    if sizes.len() == AXES_MAX {
                        return Err(A::Error::custom(format!("has more than {AXES_MAX} sizes")));
                    }
                    sizes.push(size);
                }
                Ok(Shape(sizes))
            }
        }
        d.deserialize_seq(Sizes)
    }
}

/// Text by key, in the order of the file.
struct Strings(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Strings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("strings by key")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, text)) = map.next_entry::<String, String>()? {
                    pairs.push((key, Value::String(text)));
                }
                match gguf::twice(pairs.len(), |i| pairs[i].0.as_str()) {
                    Some((i, _)) => Err(A::Error::custom(format!("`{}` is there twice", shown(&pairs[i].0)))),
                    None => Ok(Strings(pairs)),
                }
            }
        }
        d.deserialize_map(Pairs)
    }
}
