//! Operators and built-ins by name; where nothing is said, as WGSL has them.

#![allow(missing_docs)]

/// An operator or built-in of one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unary {
    /// `-x`; integers wrap.
    Neg,
    /// `!x` of bools, `~x` of integers.
    Not,
    Abs,
    Sign,
    Saturate,
    Cos,
    Cosh,
    Sin,
    Sinh,
    Tan,
    Tanh,
    Acos,
    Asin,
    Atan,
    Asinh,
    Acosh,
    Atanh,
    Radians,
    Degrees,
    Ceil,
    Floor,
    /// As named in WGSL: halves go to the even neighbour.
    Round,
    Fract,
    Trunc,
    Exp,
    Exp2,
    Log,
    Log2,
    Sqrt,
    InverseSqrt,
    QuantizeToF16,
    CountTrailingZeros,
    CountLeadingZeros,
    CountOneBits,
    ReverseBits,
    FirstTrailingBit,
    FirstLeadingBit,
    /// The fraction of `frexp`; 0 for 0.
    FrexpFraction,
    /// The exponent of `frexp`, an `i32`.
    FrexpExponent,
}

/// An operator or built-in of two operands of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binary {
    /// `+`; integers wrap.
    Add,
    /// `-`; integers wrap.
    Sub,
    /// `*`; integers wrap.
    Mul,
    /// `/`.
    Div,
    /// `%`.
    Rem,
    /// `==`, a bool.
    Eq,
    /// `!=`, a bool.
    Ne,
    /// `<`, a bool.
    Lt,
    /// `<=`, a bool.
    Le,
    /// `>`, a bool.
    Gt,
    /// `>=`, a bool.
    Ge,
    /// `&` of integers or bools.
    And,
    /// `|` of integers or bools.
    Or,
    /// `^` of integers.
    Xor,
    /// `<<`; the second operand is a `u32`.
    Shl,
    /// `>>`, by the type; the second operand is a `u32`.
    Shr,
    Min,
    Max,
    Pow,
    Atan2,
    /// As named in WGSL: `step(edge, x)`.
    Step,
    /// As named in WGSL; the second operand is an `i32`.
    Ldexp,
}

/// A built-in of three operands of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ternary {
    Fma,
    Clamp,
    Mix,
    Smoothstep,
    /// As named in WGSL: `(value, offset, count)`, the last two `u32`.
    ExtractBits,
}

/// A built-in that packs scalars into words or takes words apart, or that is about the bytes of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pack {
    /// 2 f32 → u32, f16 each.
    Pack2x16Float,
    /// 2 f32 → u32.
    Pack2x16Snorm,
    /// 2 f32 → u32.
    Pack2x16Unorm,
    /// 4 f32 → u32.
    Pack4x8Snorm,
    /// 4 f32 → u32.
    Pack4x8Unorm,
    /// 4 i32 → u32, low bytes.
    Pack4xI8,
    /// 4 u32 → u32, low bytes.
    Pack4xU8,
    /// 4 i32 → u32, saturating.
    Pack4xI8Clamp,
    /// 4 u32 → u32, saturating.
    Pack4xU8Clamp,
    /// u32 → 2 f32.
    Unpack2x16Float,
    /// u32 → 2 f32.
    Unpack2x16Snorm,
    /// u32 → 2 f32.
    Unpack2x16Unorm,
    /// u32 → 4 f32.
    Unpack4x8Snorm,
    /// u32 → 4 f32.
    Unpack4x8Unorm,
    /// u32 → 4 i32.
    Unpack4xI8,
    /// u32 → 4 u32.
    Unpack4xU8,
    /// 2 u32 → i32.
    Dot4I8Packed,
    /// 2 u32 → u32.
    Dot4U8Packed,
    /// `insertBits(e, newbits, offset, count)`.
    InsertBits,
}

/// How an atomic changes its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    Load,
    Store,
    Add,
    Sub,
    And,
    Or,
    Xor,
    Min,
    Max,
    Exchange,
    /// `atomicCompareExchangeWeak`: two results, the old value and whether it was exchanged.
    CompareExchange,
}

/// An operation on the lanes of a subgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subgroup {
    /// `subgroupAll`, of bools.
    All,
    /// `subgroupAny`, of bools.
    Any,
    /// A reduction of all lanes.
    Reduce(Fold),
    /// The lanes up to and with this one.
    Inclusive(Fold),
    /// The lanes before this one.
    Exclusive(Fold),
    /// Of the first active lane.
    BroadcastFirst,
    /// Of the lane that `arg` says, the same for all.
    Broadcast,
    /// Of the lane that `arg` says.
    Shuffle,
    /// Of the lane `arg` further.
    ShuffleDown,
    /// Of the lane `arg` before.
    ShuffleUp,
    /// Of the lane whose number differs in the bits of `arg`.
    ShuffleXor,
    /// Of the lane `arg` of each four.
    QuadBroadcast,
    /// Of the neighbour in x, y or the diagonal of each four: 1, 2 or 3 in `arg`.
    QuadSwap,
}

/// What is folded over lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fold {
    /// Sum.
    Add,
    /// Product.
    Mul,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
}
