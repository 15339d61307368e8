//! GGUF, versions 2 and 3, little-endian: the header, the metadata, and where each tensor lies.
//!
//! Nothing is believed: every count is compared with the bytes that are left before memory is taken for it, every
//! product and sum is checked, and no tensor is listed that does not lie in the file, alone.

use super::cursor::{Cursor, Stop};
use super::value::{Array, NAMES, Value};
use super::{Contents, Encoding, Format, Part, TensorInfo, shown};

/// The bytes that a file begins with.
pub(super) const MAGIC: &[u8] = b"GGUF";
/// The key of the distance that tensors are aligned to.
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";
/// That distance where the file says nothing.
pub(super) const ALIGNMENT: u64 = 32;
/// The largest that is believed: 2^31 is a power of two as well, and padding by it overflows 32 bits.
pub(super) const ALIGNMENT_MAX: u64 = 1 << 20;
/// Axes that a tensor may have.
pub(super) const AXES_MAX: usize = 4;
/// How deep arrays may lie in arrays.
const DEPTH_MAX: usize = 4;
/// More tensors than any model has.
const TENSORS_MAX: usize = 1_000_000;
/// What an entry of metadata takes at least: a key of one byte with its length, a type, a value.
const ENTRY_MIN: u64 = 14;
/// What a tensor's entry takes at least: a name of one byte with its length, the number of axes, type, offset.
const TENSOR_MIN: u64 = 25;

/// Reads a file's header from its first bytes; `total` is how long the file is.
pub(super) fn read(file: &str, bytes: &[u8], total: u64) -> Result<Contents, Stop> {
    let mut c = Cursor::new(file, bytes, total);
    let magic = c.take(4, format_args!("magic"))?;
    if magic != MAGIC {
        return Err(c.wrong(0, format_args!("magic"), format_args!("is {magic:02x?}, not `GGUF`")));
    }
    let version = c.u32(format_args!("version"))?;
    if !(2..=3).contains(&version) {
        return Err(if (1..=3).contains(&version.swap_bytes()) {
            c.wrong(4, format_args!("version"), format_args!("the file is big-endian, which is not read"))
        } else {
            c.wrong(4, format_args!("version"), format_args!("is {version}, but 2 and 3 are read"))
        });
    }
    let tensors = c.count(TENSOR_MIN, format_args!("number of tensors"))?;
    if tensors > TENSORS_MAX {
        return Err(c.wrong(
            8,
            format_args!("number of tensors"),
            format_args!("is {tensors}, but at most {TENSORS_MAX} are read"),
        ));
    }
    let entries = c.count(ENTRY_MIN, format_args!("number of metadata entries"))?;
    let (metadata, places, alignment) = read_metadata(&mut c, entries)?;
    let tensors = read_tensors(&mut c, tensors, alignment)?;
    let part = Part { name: file.to_owned(), bytes: total };
    Ok(Contents {
        format: Format::Gguf { version },
        metadata,
        tensors,
        parts: vec![part],
        sorted: Vec::new(),
        places,
    })
}

/// Keys and values, where the keys are, and the alignment.
type Metadata = (Vec<(String, Value)>, Vec<u64>, u64);

fn read_metadata(c: &mut Cursor<'_>, n: usize) -> Result<Metadata, Stop> {
    let mut metadata = Vec::with_capacity(n);
    let mut places = Vec::with_capacity(n);
    let mut alignment = ALIGNMENT;
    for i in 0..n {
        places.push(c.at);
        let key = c.name(format_args!("key {i}"))?;
        let at = c.at;
        let value = read_value(c, key)?;
        if key == ALIGNMENT_KEY {
            alignment = match value {
                Value::U32(a) if a.is_power_of_two() && u64::from(a) <= ALIGNMENT_MAX => u64::from(a),
                Value::U32(a) => {
                    let what = format_args!("is {a}, but must be a power of two up to {ALIGNMENT_MAX}");
                    return Err(c.wrong(at, format_args!("{key}"), what));
                }
                other => {
                    let what = format_args!("is of type {}, but must be u32", other.type_name());
                    return Err(c.wrong(at, format_args!("{key}"), what));
                }
            };
        }
        metadata.push((key.to_owned(), value));
    }
    if let Some((first, again)) = twice(n, |i| metadata[i].0.as_str()) {
        let (key, first) = (shown(&metadata[first].0), places[first]);
        let what = format_args!("is there already, at offset {first}");
        return Err(c.wrong(places[again], format_args!("key `{key}`"), what));
    }
    Ok((metadata, places, alignment))
}

/// Two of `n` things with the same name, the earlier first.
pub(super) fn twice<'a>(n: usize, name: impl Fn(usize) -> &'a str) -> Option<(usize, usize)> {
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by_key(|i| (name(*i), *i));
    order.windows(2).find(|w| name(w[0]) == name(w[1])).map(|w| (w[0], w[1]))
}

fn read_value(c: &mut Cursor<'_>, key: &str) -> Result<Value, Stop> {
    let at = c.at;
    let id = c.u32(format_args!("type of `{}`", shown(key)))?;
    // One value is read as an array of one would be, so that there is one place that knows the types.
    Ok(match id {
        8 => Value::String(c.text(format_args!("`{}`", shown(key)))?.to_owned()),
        9 => Value::Array(read_array(c, key, 1)?),
        _ => {
            let one = read_elements(c, key, at, id, 1, 1)?;
            match one.get(0) {
                Some(value) => value,
                None => return Err(c.wrong(at, format_args!("`{}`", shown(key)), format_args!("is empty"))),
            }
        }
    })
}

fn read_array(c: &mut Cursor<'_>, key: &str, depth: usize) -> Result<Array, Stop> {
    let at = c.at;
    if depth > DEPTH_MAX {
        let what = format_args!("lies deeper than {DEPTH_MAX} arrays in arrays");
        return Err(c.wrong(at, format_args!("`{}`", shown(key)), what));
    }
    let id = c.u32(format_args!("element type of `{}`", shown(key)))?;
    let least = match id {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        9 => 12,
        _ => 8,
    };
    let n = c.count(least, format_args!("length of `{}`", shown(key)))?;
    read_elements(c, key, at, id, n, depth)
}

/// `n` values of type `id`, which was read at `id_at`.
fn read_elements(
    c: &mut Cursor<'_>,
    key: &str,
    id_at: u64,
    id: u32,
    n: usize,
    depth: usize,
) -> Result<Array, Stop> {
    Ok(match id {
        0 => Array::U8(numbers(c, key, n, u8::from_le_bytes)?),
        1 => Array::I8(numbers(c, key, n, i8::from_le_bytes)?),
        2 => Array::U16(numbers(c, key, n, u16::from_le_bytes)?),
        3 => Array::I16(numbers(c, key, n, i16::from_le_bytes)?),
        4 => Array::U32(numbers(c, key, n, u32::from_le_bytes)?),
        5 => Array::I32(numbers(c, key, n, i32::from_le_bytes)?),
        6 => Array::F32(numbers(c, key, n, f32::from_le_bytes)?),
        7 => {
            let at = c.at;
            let bytes = numbers(c, key, n, u8::from_le_bytes)?;
            if let Some(i) = bytes.iter().position(|b| *b > 1) {
                let what = format_args!("is {}, but a bool is 0 or 1", bytes[i]);
                return Err(c.wrong(at + i as u64, format_args!("`{}`", shown(key)), what));
            }
            Array::Bool(bytes.into_iter().map(|b| b == 1).collect())
        }
        8 => {
            let mut texts = Vec::with_capacity(n);
            for i in 0..n {
                texts.push(c.text(format_args!("`{}`[{i}]", shown(key)))?.to_owned());
            }
            Array::String(texts)
        }
        9 => {
            let mut arrays = Vec::with_capacity(n);
            for _ in 0..n {
                arrays.push(read_array(c, key, depth + 1)?);
            }
            Array::Array(arrays)
        }
        10 => Array::U64(numbers(c, key, n, u64::from_le_bytes)?),
        11 => Array::I64(numbers(c, key, n, i64::from_le_bytes)?),
        12 => Array::F64(numbers(c, key, n, f64::from_le_bytes)?),
        _ => {
            let what = format_args!("is {id}, but the types are 0 to {}", NAMES.len() - 1);
            return Err(c.wrong(id_at, format_args!("type of `{}`", shown(key)), what));
        }
    })
}

fn numbers<const N: usize, T>(
    c: &mut Cursor<'_>,
    key: &str,
    n: usize,
    from: fn([u8; N]) -> T,
) -> Result<Vec<T>, Stop> {
    // `count` has checked the product; a single value cannot overflow.
    let bytes = c.take((n as u64).saturating_mul(N as u64), format_args!("`{}`", shown(key)))?;
    Ok(bytes.as_chunks::<N>().0.iter().map(|chunk| from(*chunk)).collect())
}

fn read_tensors(c: &mut Cursor<'_>, n: usize, alignment: u64) -> Result<Vec<TensorInfo>, Stop> {
    let mut tensors = Vec::with_capacity(n);
    let mut places = Vec::with_capacity(n);
    for i in 0..n {
        places.push(c.at);
        tensors.push(read_tensor(c, i, alignment)?);
    }
    if let Some((first, again)) = twice(n, |i| tensors[i].name.as_str()) {
        let (name, first) = (shown(&tensors[first].name), places[first]);
        let what = format_args!("is there already, at offset {first}");
        return Err(c.wrong(places[again], format_args!("tensor `{name}`"), what));
    }
    // The header is short of 2^63, so only offsets can overflow.
    let start = c.at.next_multiple_of(alignment);
    for (t, place) in tensors.iter_mut().zip(&places) {
        let bytes = t.range.end;
        let range = start.checked_add(t.range.start).and_then(|from| Some(from..from.checked_add(bytes)?));
        t.range = match range {
            Some(range) if range.end <= c.total => range,
            // A file need not be padded up to where a tensor of no bytes would begin.
            _ if bytes == 0 => c.total..c.total,
            _ => {
                let (name, offset, total) = (shown(&t.name), t.range.start, c.total);
                let what = format_args!(
                    "lies {offset} bytes into the data, which begin at {start}, and takes {bytes} bytes, but the \
                     file ends at {total}"
                );
                return Err(c.wrong(*place, format_args!("tensor `{name}`"), what));
            }
        };
    }
    let mut order: Vec<usize> = (0..n).filter(|i| !tensors[*i].range.is_empty()).collect();
    order.sort_unstable_by_key(|i| tensors[*i].range.start);
    if let Some(w) = order.windows(2).find(|w| tensors[w[0]].range.end > tensors[w[1]].range.start) {
        let [a, b] = [w[0], w[1]].map(|i| &tensors[i]);
        let what = format_args!(
            "begins at {}, but `{}` lies at {} to {}",
            b.range.start,
            shown(&a.name),
            a.range.start,
            a.range.end
        );
        return Err(c.wrong(places[w[1]], format_args!("tensor `{}`", shown(&b.name)), what));
    }
    Ok(tensors)
}

/// One tensor's entry; its range is its offset into the data and its length, not yet a range of the file.
fn read_tensor(c: &mut Cursor<'_>, i: usize, alignment: u64) -> Result<TensorInfo, Stop> {
    let name = c.name(format_args!("name of tensor {i}"))?;
    let label = shown(name);
    let at = c.at;
    let axes = c.u32(format_args!("number of axes of `{label}`"))?;
    let axes = usize::try_from(axes).unwrap_or(usize::MAX);
    if axes > AXES_MAX {
        let what = format_args!("is {axes}, but at most {AXES_MAX} are read");
        return Err(c.wrong(at, format_args!("number of axes of `{label}`"), what));
    }
    let sizes_at = c.at;
    let mut shape = vec![0; axes];
    // The file has the axis that lies contiguous first.
    for (axis, size) in shape.iter_mut().rev().enumerate() {
        let at = c.at;
        let field = format_args!("size {axis} of `{label}`");
        let n = c.u64(field)?;
        *size = match usize::try_from(n) {
            Ok(size) if i64::try_from(n).is_ok() => size,
            _ => return Err(c.wrong(at, field, format_args!("is {n}, which is more than can be addressed"))),
        };
    }
    let type_at = c.at;
    let id = c.u32(format_args!("type of `{label}`"))?;
    let Some(encoding) = Encoding::by_gguf(id) else {
        return Err(c.wrong(
            type_at,
            format_args!("type of `{label}`"),
            format_args!("{id} is no known type"),
        ));
    };
    let last = shape.last().map_or(1, |n| *n as u64);
    if !last.is_multiple_of(encoding.block) {
        let block = encoding.block;
        let what = format_args!("is {last}, but a block of {encoding} is {block} values");
        return Err(c.wrong(sizes_at, format_args!("size 0 of `{label}`"), what));
    }
    let Some(bytes) = encoding.byte_len(&shape) else {
        let what = format_args!("{encoding} {shape:?} takes more than 2^64 bytes");
        return Err(c.wrong(sizes_at, format_args!("sizes of `{label}`"), what));
    };
    let at = c.at;
    let offset = c.u64(format_args!("offset of `{label}`"))?;
    if !offset.is_multiple_of(alignment) {
        let what = format_args!("is {offset}, but must be a multiple of {alignment}");
        return Err(c.wrong(at, format_args!("offset of `{label}`"), what));
    }
    Ok(TensorInfo { name: name.to_owned(), encoding, shape, part: 0, range: offset..bytes })
}
