//! A case by its name, whether or not the rule makes it: what somebody else saw fail, at sizes of theirs.

use super::{Case, Inputs, Subject, graphs, rule};
use crate::dtype::DType;
use crate::op::{Axis, Shape, Sizes};
use crate::ops;

impl Case {
    /// The case that has this name, of a kernel at whatever sizes it says; `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        if name.starts_with("graph.") {
            let mut graphs = Vec::new();
            graphs::cases(&mut graphs);
            return graphs.into_iter().find(|case| case.to_string() == name);
        }
        if name.contains("/drawn=") {
            return Self::drawn_named(name);
        }
        let mut parts: Vec<&str> = name.split('/').collect();
        let inputs = parts.pop()?;
        let inputs = Inputs::ALL.into_iter().chain([Inputs::InTurn]).find(|i| i.name() == inputs)?;
        let aliased = parts.last() == Some(&"views");
        parts.truncate(parts.len() - usize::from(aliased));
        let [.., kernel, types, variant, sizes] = parts[..] else { return None };
        let op = if parts.len() == 5 { parts[0] } else { kernel.split('.').next()? };
        let op = ops::by_name(op)?;
        let kernel = *op.kernels.iter().find(|k| k.name == kernel)?;
        let (x, w) = types.split_once('.').unwrap_or((types, "f32"));
        let (x, w) = (DType::parse(x)?, DType::parse(w)?);
        let variant = rule::variants(op).iter().position(|v| *v == variant)?;
        let mut parsed = Sizes::new(op.cases.axes);
        for size in sizes.split(',') {
            let (axis, n) = size.split_once('=')?;
            let axis = Axis::ALL.into_iter().find(|a| a.name() == axis)?;
            parsed.set(axis, n.parse().ok()?);
        }
        let subject = Subject::Kernel { op, kernel, shape: Shape { sizes: parsed, x, w, variant } };
        let case = Self { subject, inputs, aliased, quick: false };
        // What was left out, or written otherwise, would be another case than the name says.
        (case.to_string() == name).then_some(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_found_by_its_name_and_so_is_one_of_other_sizes() {
        for case in crate::check::cases() {
            let name = case.to_string();
            assert_eq!(Case::named(&name).map(|c| c.to_string()), Some(name));
        }
        let name = crate::check::cases()[0].to_string();
        let kernel = name.split('/').next().unwrap();
        assert!(Case::named(&format!("{kernel}/f32.f32/plain/M=77,N=99,K=111/random")).is_some());
        for wrong in [
            "",
            "/",
            "matmul",
            "matmul.none/f32.f32/plain/M=1,N=1,K=1/random",
            &format!("{kernel}/f32.f32/plain/M=1,N=1/random"),
            &format!("{kernel}/f32/plain/M=1,N=1,K=1/random"),
            &format!("{kernel}/f32.f32/plain/M=1,N=1,K=-1/random"),
            &format!("{kernel}/f32.f32/plain/M=1,N=1,K=1/any"),
        ] {
            assert!(Case::named(wrong).is_none(), "{wrong}");
        }
    }
}
