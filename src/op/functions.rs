//! The functions that work element by element, which kernels can take in before or after their own.

/// A function of one tensor, element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unary {
    /// max(x, 0).
    Relu,
    /// x · Φ(x), with erf.
    Gelu,
    /// The tanh approximation of gelu (Hendrycks and Gimpel 2016).
    GeluTanh,
    /// x · sigmoid(x).
    Silu,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// tanh(x).
    Tanh,
    /// ln(1 + eˣ).
    Softplus,
    /// -x.
    Neg,
    /// |x|.
    Abs,
    /// -1, 0 or 1.
    Sign,
    /// eˣ.
    Exp,
    /// ln(x).
    Log,
    /// x².
    Square,
    /// √x.
    Sqrt,
    /// 1/√x.
    Rsqrt,
    /// 1/x.
    Reciprocal,
    /// The error function.
    Erf,
    /// The next whole number down.
    Floor,
    /// The next whole number up.
    Ceil,
    /// The nearest whole number, halves to the even one.
    Round,
    /// The nearest whole number, halves away from zero.
    RoundAway,
    /// x times the attribute `scale`.
    Scale,
    /// x plus the attribute `offset`.
    Offset,
    /// x kept between the attributes `min` and `max`.
    Clamp,
    /// x, or `alpha`·(eˣ - 1) where x is negative.
    Elu,
    /// x, or `alpha`·x where x is negative.
    LeakyRelu,
    /// x as another type: integers by dropping the fraction, saturated.
    Cast,
}

impl Unary {
    /// The names of the numbers that it takes as attributes, in order.
    pub const fn numbers(self) -> &'static [&'static str] {
        match self {
            Self::Scale => &["scale"],
            Self::Offset => &["offset"],
            Self::Clamp => &["min", "max"],
            Self::Elu | Self::LeakyRelu => &["alpha"],
            _ => &[],
        }
    }
}

/// A function of two tensors, element by element, after they are broadcast to one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binary {
    /// a + b.
    Add,
    /// a - b.
    Sub,
    /// a · b.
    Mul,
    /// a / b.
    Div,
    /// a to the power of b.
    Pow,
    /// The smaller of the two.
    Minimum,
    /// The larger of the two.
    Maximum,
    /// 1 where a = b, else 0.
    Equal,
    /// 1 where a < b, else 0.
    Less,
    /// 1 where a ≤ b, else 0.
    LessEqual,
    /// 1 where a > b, else 0.
    Greater,
    /// 1 where a ≥ b, else 0.
    GreaterEqual,
}
