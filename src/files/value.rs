//! What metadata can say: the value types of GGUF.

/// A value of metadata.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each is the type that it is called by")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// Values of one type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each is the type that it is called by")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<Array>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Value {
    /// A whole number that is not negative, of whatever type; `None` for anything else.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::U8(v) => Some(u64::from(*v)),
            Self::U16(v) => Some(u64::from(*v)),
            Self::U32(v) => Some(u64::from(*v)),
            Self::U64(v) => Some(*v),
            Self::I8(v) => u64::try_from(*v).ok(),
            Self::I16(v) => u64::try_from(*v).ok(),
            Self::I32(v) => u64::try_from(*v).ok(),
            Self::I64(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// Text; `None` for anything else.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// GGUF's number of the type.
    pub const fn gguf(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// The type's name: `u32`, `string`, `array`.
    pub const fn type_name(&self) -> &'static str {
        NAMES[self.gguf() as usize]
    }

    /// Appends the value as GGUF has it, without its type.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(v) => out.push(*v),
            Self::I8(v) => out.extend(v.to_le_bytes()),
            Self::U16(v) => out.extend(v.to_le_bytes()),
            Self::I16(v) => out.extend(v.to_le_bytes()),
            Self::U32(v) => out.extend(v.to_le_bytes()),
            Self::I32(v) => out.extend(v.to_le_bytes()),
            Self::F32(v) => out.extend(v.to_le_bytes()),
            Self::Bool(v) => out.push(u8::from(*v)),
            Self::String(v) => put_text(v, out),
            Self::Array(v) => v.put(out),
            Self::U64(v) => out.extend(v.to_le_bytes()),
            Self::I64(v) => out.extend(v.to_le_bytes()),
            Self::F64(v) => out.extend(v.to_le_bytes()),
        }
    }
}

/// Names of the types, by GGUF's numbers.
pub(super) const NAMES: [&str; 13] =
    ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"];

/// Text as GGUF has it: its length in bytes, and its bytes.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl Array {
    /// How many values there are.
    pub const fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::String(v) => v.len(),
            Self::Array(v) => v.len(),
            Self::U64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at `i`; `None` past the end.
    pub fn get(&self, i: usize) -> Option<Value> {
        match self {
            Self::U8(v) => v.get(i).copied().map(Value::U8),
            Self::I8(v) => v.get(i).copied().map(Value::I8),
            Self::U16(v) => v.get(i).copied().map(Value::U16),
            Self::I16(v) => v.get(i).copied().map(Value::I16),
            Self::U32(v) => v.get(i).copied().map(Value::U32),
            Self::I32(v) => v.get(i).copied().map(Value::I32),
            Self::F32(v) => v.get(i).copied().map(Value::F32),
            Self::Bool(v) => v.get(i).copied().map(Value::Bool),
            Self::String(v) => v.get(i).cloned().map(Value::String),
            Self::Array(v) => v.get(i).cloned().map(Value::Array),
            Self::U64(v) => v.get(i).copied().map(Value::U64),
            Self::I64(v) => v.get(i).copied().map(Value::I64),
            Self::F64(v) => v.get(i).copied().map(Value::F64),
        }
    }

    /// GGUF's number of the values' type.
    pub const fn element_gguf(&self) -> u32 {
        match self {
            Self::U8(_) => 0,
            Self::I8(_) => 1,
            Self::U16(_) => 2,
            Self::I16(_) => 3,
            Self::U32(_) => 4,
            Self::I32(_) => 5,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Array(_) => 9,
            Self::U64(_) => 10,
            Self::I64(_) => 11,
            Self::F64(_) => 12,
        }
    }

    /// The name of the values' type.
    pub const fn element_name(&self) -> &'static str {
        NAMES[self.element_gguf() as usize]
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.element_gguf().to_le_bytes());
        out.extend((self.len() as u64).to_le_bytes());
        match self {
            // An array of arrays is walked by reference: `get` would copy each.
            Self::Array(v) => v.iter().for_each(|a| a.put(out)),
            Self::String(v) => v.iter().for_each(|text| put_text(text, out)),
            Self::U8(v) => out.extend(v),
            _ => (0..self.len()).filter_map(|i| self.get(i)).for_each(|v| v.put(out)),
        }
    }
}
