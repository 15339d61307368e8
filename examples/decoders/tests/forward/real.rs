//! The arithmetic of a forward pass.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Numbers that are computed with.
pub trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// How many parts a sum has that are added up by themselves, at most eight.
    const PARTS: usize;
    /// A constant of a formula, rounded.
    fn of(v: f64) -> Self;
    /// A weight, exactly.
    fn weight(v: f32) -> Self;
    /// Exactly.
    fn wide(self) -> f64;
    fn exp(self) -> Self;
    fn sqrt(self) -> Self;
    fn tanh(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn powf(self, e: Self) -> Self;
}

/// f32 as processors with vectors add up: eight sums at once, which are nearer.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct InEight(f32);
macro_rules! in_eight {
    ($($op:ident $f:ident),*) => {$(
        impl $op for InEight {
            type Output = Self;
            fn $f(self, other: Self) -> Self {
                Self($op::$f(self.0, other.0))
            }
        }
    )*};
}
in_eight!(Add add, Sub sub, Mul mul, Div div);

impl Neg for InEight {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

macro_rules! real {
    ($t:ty, $parts:literal, $own:expr, $number:expr) => {
        impl Real for $t {
            const PARTS: usize = $parts;
            fn of(v: f64) -> Self {
                $own(v as _)
            }
            fn weight(v: f32) -> Self {
                $own(v.into())
            }
            fn wide(self) -> f64 {
                $number(self).into()
            }
            fn exp(self) -> Self {
                $own($number(self).exp())
            }
            fn sqrt(self) -> Self {
                $own($number(self).sqrt())
            }
            fn tanh(self) -> Self {
                $own($number(self).tanh())
            }
            fn sin(self) -> Self {
                $own($number(self).sin())
            }
            fn cos(self) -> Self {
                $own($number(self).cos())
            }
            fn powf(self, e: Self) -> Self {
                $own($number(self).powf($number(e)))
            }
        }
    };
}

// f32 as formulas are written: a sum is one term after the other.
real!(f32, 1, std::convert::identity::<f32>, std::convert::identity::<f32>);
real!(f64, 8, std::convert::identity::<f64>, std::convert::identity::<f64>);
real!(InEight, 8, InEight, |x: InEight| x.0);
