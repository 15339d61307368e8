//! Built-in functions: those of each component by name, the others by what WGSL says they are.

use naga::{Expression, Handle, MathFunction as M, Span, TypeInner};

use super::super::program::{Binary, Op, Pack, Reg, Ternary, Ty, Unary};
use super::Result;
use super::builder::Builder;
use super::expressions::Frame;
use super::unknown;

/// Of each component, one operand.
fn unary(fun: M) -> Option<Unary> {
    Some(match fun {
        M::Abs => Unary::Abs,
        M::Saturate => Unary::Saturate,
        M::Cos => Unary::Cos,
        M::Cosh => Unary::Cosh,
        M::Sin => Unary::Sin,
        M::Sinh => Unary::Sinh,
        M::Tan => Unary::Tan,
        M::Tanh => Unary::Tanh,
        M::Acos => Unary::Acos,
        M::Asin => Unary::Asin,
        M::Atan => Unary::Atan,
        M::Asinh => Unary::Asinh,
        M::Acosh => Unary::Acosh,
        M::Atanh => Unary::Atanh,
        M::Radians => Unary::Radians,
        M::Degrees => Unary::Degrees,
        M::Ceil => Unary::Ceil,
        M::Floor => Unary::Floor,
        M::Round => Unary::Round,
        M::Fract => Unary::Fract,
        M::Trunc => Unary::Trunc,
        M::Exp => Unary::Exp,
        M::Exp2 => Unary::Exp2,
        M::Log => Unary::Log,
        M::Log2 => Unary::Log2,
        M::Sign => Unary::Sign,
        M::Sqrt => Unary::Sqrt,
        M::InverseSqrt => Unary::InverseSqrt,
        M::QuantizeToF16 => Unary::QuantizeToF16,
        M::CountTrailingZeros => Unary::CountTrailingZeros,
        M::CountLeadingZeros => Unary::CountLeadingZeros,
        M::CountOneBits => Unary::CountOneBits,
        M::ReverseBits => Unary::ReverseBits,
        M::FirstTrailingBit => Unary::FirstTrailingBit,
        M::FirstLeadingBit => Unary::FirstLeadingBit,
        _ => return None,
    })
}

/// Of each component, two operands.
fn binary(fun: M) -> Option<Binary> {
    Some(match fun {
        M::Min => Binary::Min,
        M::Max => Binary::Max,
        M::Pow => Binary::Pow,
        M::Atan2 => Binary::Atan2,
        M::Step => Binary::Step,
        M::Ldexp => Binary::Ldexp,
        _ => return None,
    })
}

/// Of each component, three operands.
fn ternary(fun: M) -> Option<Ternary> {
    Some(match fun {
        M::Fma => Ternary::Fma,
        M::Clamp => Ternary::Clamp,
        M::Mix => Ternary::Mix,
        M::SmoothStep => Ternary::Smoothstep,
        M::ExtractBits => Ternary::ExtractBits,
        _ => return None,
    })
}

/// Packing and unpacking, with how many scalars come of it.
fn pack(fun: M) -> Option<(Pack, usize)> {
    Some(match fun {
        M::Pack2x16float => (Pack::Pack2x16Float, 1),
        M::Pack2x16snorm => (Pack::Pack2x16Snorm, 1),
        M::Pack2x16unorm => (Pack::Pack2x16Unorm, 1),
        M::Pack4x8snorm => (Pack::Pack4x8Snorm, 1),
        M::Pack4x8unorm => (Pack::Pack4x8Unorm, 1),
        M::Pack4xI8 => (Pack::Pack4xI8, 1),
        M::Pack4xU8 => (Pack::Pack4xU8, 1),
        M::Pack4xI8Clamp => (Pack::Pack4xI8Clamp, 1),
        M::Pack4xU8Clamp => (Pack::Pack4xU8Clamp, 1),
        M::Unpack2x16float => (Pack::Unpack2x16Float, 2),
        M::Unpack2x16snorm => (Pack::Unpack2x16Snorm, 2),
        M::Unpack2x16unorm => (Pack::Unpack2x16Unorm, 2),
        M::Unpack4x8snorm => (Pack::Unpack4x8Snorm, 4),
        M::Unpack4x8unorm => (Pack::Unpack4x8Unorm, 4),
        M::Unpack4xI8 => (Pack::Unpack4xI8, 4),
        M::Unpack4xU8 => (Pack::Unpack4xU8, 4),
        M::Dot4I8Packed => (Pack::Dot4I8Packed, 1),
        M::Dot4U8Packed => (Pack::Dot4U8Packed, 1),
        _ => return None,
    })
}

impl Frame<'_, '_> {
    pub fn math(&mut self, fun: M, args: &[Handle<Expression>], span: Span) -> Result<Vec<Reg>> {
        let ty = self.ty(args[0])?;
        let rows = match *self.inner(args[0]) {
            TypeInner::Matrix { rows, .. } => rows as usize,
            _ => 1,
        };
        let args = args.iter().map(|a| self.value(*a)).collect::<Result<Vec<_>>>()?;
        let b = &mut *self.b;
        Ok(match args.as_slice() {
            [x] => match (unary(fun), pack(fun)) {
                (Some(op), _) => b.unary_each(op, ty, x),
                (_, Some((op, count))) => b.pack(op, ty, x.clone(), count),
                _ => return b.of_one(fun, ty, x, rows, span),
            },
            [x, y] => match (binary(fun), pack(fun)) {
                (Some(op), _) => b.binary_each(op, ty, x, y),
                (_, Some((op, count))) => b.pack(op, ty, vec![x[0], y[0]], count),
                _ => return b.of_two(fun, ty, x, y, span),
            },
            [x, y, z] => match ternary(fun) {
                Some(op) => b.ternary_each(op, ty, [x, y, z]),
                None => return b.of_three(fun, ty, [x, y, z], span),
            },
            [x, y, offset, count] if fun == M::InsertBits => {
                let bits = |(e, new): (&Reg, &Reg)| {
                    b.pack(Pack::InsertBits, ty, vec![*e, *new, offset[0], count[0]], 1)
                };
                x.iter().zip(y).flat_map(bits).collect()
            }
            _ => return unknown(b, &format!("the built-in function {fun:?}"), span),
        })
    }
}

impl Builder<'_> {
    fn pack(&mut self, op: Pack, ty: Ty, args: Vec<Reg>, count: usize) -> Vec<Reg> {
        let dst = self.temporaries(count);
        self.emit(Op::Pack { op, ty, dst: dst.clone(), args });
        dst
    }

    /// The square root of the sum of squares.
    fn length(&mut self, ty: Ty, x: &[Reg]) -> Reg {
        if let [x] = x {
            return self.unary(Unary::Abs, ty, *x);
        }
        let squares = self.dot(ty, x, x);
        self.unary(Unary::Sqrt, ty, squares)
    }

    fn of_one(&mut self, fun: M, ty: Ty, x: &[Reg], rows: usize, span: Span) -> Result<Vec<Reg>> {
        Ok(match fun {
            // The fraction, then what is whole.
            M::Modf => {
                let whole = self.unary_each(Unary::Trunc, ty, x);
                let mut both = self.binary_each(Binary::Sub, ty, x, &whole);
                both.extend(whole);
                both
            }
            M::Frexp => {
                let mut both = self.unary_each(Unary::FrexpFraction, ty, x);
                both.extend(self.unary_each(Unary::FrexpExponent, ty, x));
                both
            }
            M::Length => vec![self.length(ty, x)],
            M::Normalize => {
                let length = self.length(ty, x);
                self.binary_each(Binary::Div, ty, x, &[length])
            }
            M::Transpose => {
                (0..x.len()).map(|i| x[i % (x.len() / rows) * rows + i / (x.len() / rows)]).collect()
            }
            M::Determinant => vec![self.determinant(ty, x, rows)],
            _ => return unknown(self, &format!("the built-in function {fun:?}"), span),
        })
    }

    /// By the first column.
    fn determinant(&mut self, ty: Ty, m: &[Reg], rows: usize) -> Reg {
        if rows == 1 {
            return m[0];
        }
        let mut sum = None;
        for row in 0..rows {
            let minor: Vec<_> = (rows..m.len()).filter(|i| i % rows != row).map(|i| m[i]).collect();
            let minor = self.determinant(ty, &minor, rows - 1);
            let term = self.binary(Binary::Mul, ty, m[row], minor);
            let op = if row % 2 == 0 { Binary::Add } else { Binary::Sub };
            sum = Some(sum.map_or(term, |sum| self.binary(op, ty, sum, term)));
        }
        sum.unwrap_or(m[0])
    }

    fn of_two(&mut self, fun: M, ty: Ty, x: &[Reg], y: &[Reg], span: Span) -> Result<Vec<Reg>> {
        Ok(match fun {
            M::Dot => vec![self.dot(ty, x, y)],
            M::Distance => {
                let between = self.binary_each(Binary::Sub, ty, x, y);
                vec![self.length(ty, &between)]
            }
            M::Cross => [(1, 2), (2, 0), (0, 1)]
                .map(|(i, j)| {
                    let (a, b) =
                        (self.binary(Binary::Mul, ty, x[i], y[j]), self.binary(Binary::Mul, ty, x[j], y[i]));
                    self.binary(Binary::Sub, ty, a, b)
                })
                .to_vec(),
            M::Outer => y.iter().flat_map(|y| self.binary_each(Binary::Mul, ty, x, &[*y])).collect(),
            // x - 2 dot(y, x) y
            M::Reflect => {
                let dot = self.dot(ty, y, x);
                let two = self.number(ty, 2);
                let twice = self.binary(Binary::Mul, ty, two, dot);
                let along = self.binary_each(Binary::Mul, ty, y, &[twice]);
                self.binary_each(Binary::Sub, ty, x, &along)
            }
            _ => return unknown(self, &format!("the built-in function {fun:?}"), span),
        })
    }

    fn of_three(&mut self, fun: M, ty: Ty, [x, y, z]: [&[Reg]; 3], span: Span) -> Result<Vec<Reg>> {
        Ok(match fun {
            // x where dot(y, z) is negative, else -x
            M::FaceForward => {
                let (dot, zero) = (self.dot(ty, y, z), self.number(ty, 0));
                let condition = self.binary(Binary::Lt, ty, dot, zero);
                let turned = self.unary_each(Unary::Neg, ty, x);
                let select = |(accept, reject): (&Reg, &Reg)| {
                    self.emit_to(|dst| Op::Select { dst, condition, accept: *accept, reject: *reject })
                };
                x.iter().zip(&turned).map(select).collect()
            }
            M::Refract => self.refract(ty, x, y, z[0]),
            _ => return unknown(self, &format!("the built-in function {fun:?}"), span),
        })
    }

    /// With k = 1 - r² (1 - dot(n, x)²): 0 where k is negative, else r x - (r dot(n, x) + √k) n.
    fn refract(&mut self, ty: Ty, x: &[Reg], n: &[Reg], r: Reg) -> Vec<Reg> {
        let (zero, one) = (self.number(ty, 0), self.number(ty, 1));
        let dot = self.dot(ty, n, x);
        let square = self.binary(Binary::Mul, ty, dot, dot);
        let sine = self.binary(Binary::Sub, ty, one, square);
        let ratio = self.binary(Binary::Mul, ty, r, r);
        let bent = self.binary(Binary::Mul, ty, ratio, sine);
        let k = self.binary(Binary::Sub, ty, one, bent);
        let condition = self.binary(Binary::Lt, ty, k, zero);
        let root = self.unary(Unary::Sqrt, ty, k);
        let ahead = self.binary(Binary::Mul, ty, r, dot);
        let along = self.binary(Binary::Add, ty, ahead, root);
        let scaled = self.binary_each(Binary::Mul, ty, x, &[r]);
        let normal = self.binary_each(Binary::Mul, ty, n, &[along]);
        let bent = self.binary_each(Binary::Sub, ty, &scaled, &normal);
        bent.into_iter()
            .map(|reject| self.emit_to(|dst| Op::Select { dst, condition, accept: zero, reject }))
            .collect()
    }
}
