//! Sizes that may be known only at the call: dims, and expressions over them.

use std::fmt;

use crate::op::Attr;

/// A scalar of the call: an index into [`Graph::scalars`](crate::Graph::scalars).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub struct ScalarId(pub(crate) u32);

/// What a scalar of the call is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ScalarKind {
    /// A size, from 0 to `max`: a plan reserves memory for `max`.
    Dim {
        /// The largest value that a call may give.
        max: u64,
    },
    /// A 32-bit float.
    F32,
}

/// A named scalar of the call.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct ScalarSpec {
    /// Its name, as the caller gives it.
    pub name: String,
    /// What it is.
    pub kind: ScalarKind,
}

/// The values of a plan's or a graph's scalars for one call, in the order of their specs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Call(pub(crate) Vec<f64>);

impl Call {
    /// A call with these values, checked against the scalars' names and bounds.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) if a name is unknown or missing, or a dim is above its bound.
    pub fn new(specs: &[ScalarSpec], values: &[(&str, f64)]) -> crate::Result<Self> {
        let mut call = Self(vec![f64::NAN; specs.len()]);
        for (name, value) in values {
            call.set(specs, name, *value)?;
        }
        match specs.iter().zip(&call.0).find(|(_, v)| v.is_nan()) {
            Some((spec, _)) => {
                Err(crate::Error::Argument(format!("call: scalar `{}` was not given", spec.name)))
            }
            None => Ok(call),
        }
    }

    /// Changes one value; allocates nothing.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub fn set(&mut self, specs: &[ScalarSpec], name: &str, value: f64) -> crate::Result<()> {
        let Some(i) = specs.iter().position(|s| s.name == name) else {
            return Err(crate::Error::Argument(format!("call: there is no scalar `{name}`")));
        };
        if let ScalarKind::Dim { max } = specs[i].kind
            && !(value >= 0.0 && value <= max as f64 && value.fract() == 0.0)
        {
            return Err(crate::Error::Argument(format!(
                "call: dim `{name}` = {value}, but it must be a whole number from 0 to {max}"
            )));
        }
        self.0[i] = value;
        Ok(())
    }

    /// The values, in the order of the scalars.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The value of a scalar.
    pub fn get(&self, id: ScalarId) -> f64 {
        self.0[id.0 as usize]
    }
}

/// A size: a constant times dims of the call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Dim {
    /// The constant factor.
    factor: u64,
    /// The dims it is multiplied by, sorted.
    vars: Vec<ScalarId>,
}

impl Dim {
    /// The size 1.
    pub const ONE: Self = Self { factor: 1, vars: Vec::new() };

    /// A dim of the call.
    pub fn var(id: ScalarId) -> Self {
        Self { factor: 1, vars: vec![id] }
    }

    /// The value, if no dim of the call is in it.
    pub fn constant(&self) -> Option<u64> {
        (self.vars.is_empty() || self.factor == 0).then_some(self.factor)
    }

    /// The value for one call.
    pub fn eval(&self, call: &Call) -> u64 {
        self.vars.iter().fold(self.factor, |p, v| p.saturating_mul(call.get(*v) as u64))
    }

    /// The largest value that the bounds allow.
    pub fn max(&self, specs: &[ScalarSpec]) -> u64 {
        self.vars.iter().fold(self.factor, |p, v| match specs[v.0 as usize].kind {
            ScalarKind::Dim { max } => p.saturating_mul(max),
            ScalarKind::F32 => p,
        })
    }

    /// The product of two sizes.
    pub fn times(&self, other: &Self) -> Self {
        let mut vars: Vec<_> = self.vars.iter().chain(&other.vars).copied().collect();
        vars.sort_unstable();
        Self { factor: self.factor.saturating_mul(other.factor), vars }
    }

    /// The product of many sizes.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Self>) -> Self {
        dims.into_iter().fold(Self::ONE, |p, d| p.times(d))
    }

    /// This size divided by a constant, if that leaves no remainder whatever the call.
    pub fn divided_by(&self, divisor: u64) -> Option<Self> {
        (divisor > 0 && self.factor.is_multiple_of(divisor))
            .then(|| Self { factor: self.factor / divisor, vars: self.vars.clone() })
    }

    /// The size as people read it: `B·S·384`.
    pub fn show(&self, specs: &[ScalarSpec]) -> String {
        let mut parts: Vec<_> = self.vars.iter().map(|v| specs[v.0 as usize].name.clone()).collect();
        if self.factor != 1 || parts.is_empty() {
            parts.push(self.factor.to_string());
        }
        parts.join("·")
    }

    /// The size as an attribute that may be a dim of the call; `None` if it is a product.
    pub(crate) fn attr(&self) -> Option<Attr> {
        match (self.factor, self.vars.as_slice()) {
            (n, []) => u32::try_from(n).ok().map(Attr::U32),
            (1, [var]) => Some(Attr::Scalar(*var)),
            _ => None,
        }
    }

    /// The dims of the call in it.
    pub fn vars(&self) -> &[ScalarId] {
        &self.vars
    }
}

/// A shape as people read it: `[B, S, 384]`.
pub(crate) fn show_shape(shape: &[Dim], specs: &[ScalarSpec]) -> String {
    format!("[{}]", shape.iter().map(|d| d.show(specs)).collect::<Vec<_>>().join(", "))
}

impl From<u64> for Dim {
    fn from(factor: u64) -> Self {
        Self { factor, vars: Vec::new() }
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        Self::from(n as u64)
    }
}

impl From<i32> for Dim {
    /// For literals; a negative number becomes 0.
    fn from(n: i32) -> Self {
        Self::from(u64::try_from(n).unwrap_or(0))
    }
}

/// A whole-number expression over dims: workgroup counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Expr {
    /// A size.
    Dim(Dim),
    /// The product of several.
    Mul(Vec<Expr>),
    /// Division by a constant, rounded up.
    CeilDiv(Box<Expr>, u64),
}

impl Expr {
    /// `self` divided by `n`, rounded up.
    pub fn ceil_div(self, n: u64) -> Self {
        Self::CeilDiv(Box::new(self), n)
    }

    /// The value for one call; saturates instead of overflowing.
    pub fn eval(&self, call: &Call) -> u64 {
        self.fold(&|d| d.eval(call))
    }

    /// The largest value that the bounds allow.
    pub fn max(&self, specs: &[ScalarSpec]) -> u64 {
        self.fold(&|d| d.max(specs))
    }

    /// The expression as people read it.
    pub fn show(&self, specs: &[ScalarSpec]) -> String {
        match self {
            Self::Dim(d) => d.show(specs),
            Self::Mul(parts) => parts.iter().map(|p| p.show(specs)).collect::<Vec<_>>().join(" x "),
            Self::CeilDiv(e, n) => format!("ceil({}/{n})", e.show(specs)),
        }
    }

    /// Calls back with each scalar that the value depends on, some of them more than once.
    pub(crate) fn each_scalar(&self, see: &mut impl FnMut(u32)) {
        match self {
            Self::Dim(d) => d.vars.iter().for_each(|v| see(v.0)),
            Self::Mul(parts) => parts.iter().for_each(|e| e.each_scalar(see)),
            Self::CeilDiv(e, _) => e.each_scalar(see),
        }
    }

    fn fold(&self, size: &impl Fn(&Dim) -> u64) -> u64 {
        match self {
            Self::Dim(d) => size(d),
            Self::Mul(parts) => parts.iter().fold(1, |p, e| p.saturating_mul(e.fold(size))),
            Self::CeilDiv(e, n) => e.fold(size).div_ceil(*n),
        }
    }
}

impl From<Dim> for Expr {
    fn from(d: Dim) -> Self {
        Self::Dim(d)
    }
}

impl fmt::Display for ScalarSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ScalarKind::Dim { max } => write!(f, "{} ≤ {max}", self.name),
            ScalarKind::F32 => write!(f, "{} f32", self.name),
        }
    }
}
