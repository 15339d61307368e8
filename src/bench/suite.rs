//! What `tachylite bench` measures, as data: ops at sizes that models have, and at sizes that are awkward.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::op::Axis::{B, C, D, E, K, M, N, R, S, T, U, V};
use crate::op::{Axis, Op, Shape, Sizes};
use crate::ops;
use crate::plan::{Numerics, Policy};
use crate::profile::Profile;
use crate::tune::Task;

use DType::{F16, F32, I8, Q4_0, Q4K, Q6K, Q8_0};

/// The types that weights are measured in.
const ALL: &[DType] = &[F32, F16, I8, Q8_0];
/// Blocks that stand for the others: of whole bytes, of codes in one plane and in two.
const BLOCKS: &[DType] = &[Q8_0, Q4_0, Q4K, Q6K];
/// And what they are held against where they are to be no slower.
const BESIDE_F32: &[DType] = &[F32, Q8_0, Q4_0, Q4K, Q6K];
/// For what is measured because of int8 activations.
const INT8: &[DType] = &[I8];
/// Of experts.
const EXPERTS: &[DType] = &[F32, Q8_0, Q4K];
/// For ops without weights, or with weights that are next to nothing.
const ONE: &[DType] = &[F32];
const NONE: &[DType] = &[];

/// From here on arithmetic binds a product, and how it is done is worth a row of the short list.
const MANY_ROWS: usize = 128;

/// Sizes of an op, and the types of its weights: all that are measured, and those of the short list.
struct Item {
    group: &'static str,
    op: &'static str,
    variant: &'static str,
    sizes: &'static [(Axis, u64)],
    x: DType,
    weights: &'static [DType],
    quick: &'static [DType],
}

/// Groups of items: op, variant, sizes, types of weights, and those of the short list. Activations are f32, or
/// what stands behind the variant.
macro_rules! items {
    (@x) => { F32 };
    (@x $x:ident) => { $x };
    ($(of $group:literal:
        $($op:literal $variant:literal $(of $x:ident)? [$($axis:ident $n:literal)*] $weights:ident $quick:expr;)*
    )*) => {
        &[$($(Item {
            group: $group,
            op: $op,
            variant: $variant,
            sizes: &[$(($axis, $n)),*],
            x: items!(@x $($x)?),
            weights: $weights,
            quick: $quick,
        },)*)*]
    };
}

/// The suite. Of a model: each product of one layer, for one token and for 128.
const ITEMS: &[Item] = items! {
    of "square":
        "matmul" "plain" [M 512 N 512 K 512] ALL &[F32, I8, Q8_0];
        "matmul" "plain" [M 1024 N 1024 K 1024] ALL NONE;
    of "512 rows":
        "matmul" "plain" [M 512 N 2048 K 2048] INT8 NONE;
        "matmul" "plain" [M 512 N 1024 K 1024] BESIDE_F32 NONE;
    of "one row of Llama-3-8B":
        "matmul" "plain" [M 1 N 4096 K 14336] BLOCKS NONE;
        "matmul" "plain" [M 1 N 2048 K 14336] BESIDE_F32 NONE;
    of "skinny":
        "matmul" "plain" [M 4096 N 64 K 1024] ALL NONE;
        "matmul" "plain" [M 64 N 64 K 8192] ALL NONE;
        "matmul" "plain" [M 64 N 8192 K 64] ALL NONE;
    of "one row":
        "matmul" "plain" [M 1 N 4096 K 4096] ALL NONE;
        "matmul" "plain" [M 1 N 2048 K 2048] ALL ALL;
    of "eight rows":
        "matmul" "plain" [M 8 N 4096 K 4096] ALL NONE;
        "matmul" "plain" [M 8 N 1024 K 1024] ALL &[F32, Q8_0];
    of "BERT-base":
        "matmul" "plain" [M 1 N 768 K 768] ALL NONE;
        "matmul" "plain" [M 128 N 768 K 768] ALL &[F32];
        "matmul" "bias_gelu_add" [M 128 N 3072 K 768] ALL NONE;
        "matmul" "plain" [M 128 N 768 K 3072] ALL NONE;
        "attention" "full" [B 6 S 128 T 128 D 64] ONE ONE;
        "embed" "three" [R 128 V 30522 C 768] ONE NONE;
    of "Llama-3.2-1B":
        "matmul" "plain" [M 1 N 512 K 2048] ALL NONE;
        "matmul" "plain" [M 1 N 8192 K 2048] ALL NONE;
        "matmul" "plain" [M 1 N 2048 K 8192] ALL NONE;
        "matmul" "plain" [M 128 N 512 K 2048] ALL NONE;
        "matmul" "plain" [M 128 N 2048 K 2048] ALL NONE;
        "matmul" "plain" [M 128 N 8192 K 2048] ALL NONE;
        "matmul" "plain" [M 128 N 2048 K 8192] ALL NONE;
        "attention" "causal" [B 4 S 512 T 512 D 64] ONE NONE;
        "attention" "full" [B 16 S 1 T 2048 D 64] ONE NONE;
        "rms_norm" "plain" [R 128 C 2048] ONE NONE;
    of "prefill, 1024 keys":
        "matmul" "plain" [M 512 N 1024 K 1024] ONE NONE;
        "attention" "full" [B 4 S 1024 T 1024 D 64] ONE NONE;
    of "one query, 4096 keys":
        "attention" "full" of F16 [B 4 S 1 T 4096 D 64] ONE NONE;
        "attention" "full" of F16 [B 4 S 1 T 4096 D 128] ONE NONE;
        "attention" "grouped" of F16 [B 4 S 1 T 4096 D 64] ONE NONE;
        "attention" "grouped" of F16 [B 4 S 1 T 4096 D 128] ONE NONE;
        "attention" "full" [B 4 S 1 T 4096 D 64] ONE NONE;
        "attention" "q8_0" [B 4 S 1 T 4096 D 64] ONE NONE;
        "attention" "q8_0" [B 4 S 1 T 4096 D 128] ONE NONE;
        "attention" "paged" of F16 [B 4 S 1 T 4096 D 64] ONE NONE;
        "attention" "paged" of F16 [B 4 S 1 T 4096 D 128] ONE NONE;
    of "two passes, 2048 keys":
        "matmul" "plain" [M 2048 N 2048 K 64] ONE NONE;
        "softmax" "plain" [R 2048 C 2048] ONE NONE;
        "matmul" "plain" [M 2048 N 64 K 2048] ONE NONE;
        "attention" "full" [B 1 S 2048 T 2048 D 64] ONE NONE;
        "attention" "causal" [B 1 S 2048 T 2048 D 64] ONE NONE;
    of "recurrence":
        "wkv7" "plain" [B 8 T 1024 C 64 D 64] ONE NONE;
        "linear_attention" "linear" [B 8 T 1024 C 64 D 64] ONE NONE;
        "linear_attention" "gated_delta" [B 8 T 1024 C 64 D 64] ONE NONE;
        "linear_attention" "gated_delta" [B 4 T 1024 C 128 D 128] ONE NONE;
    of "Qwen3-0.6B":
        "matmul" "plain" [M 1 N 2048 K 1024] ALL NONE;
        "matmul" "plain" [M 1 N 3072 K 1024] ALL NONE;
        "matmul" "plain" [M 1 N 1024 K 3072] ALL NONE;
        "matmul" "plain" [M 128 N 2048 K 1024] ALL NONE;
        "matmul" "plain" [M 128 N 3072 K 1024] ALL NONE;
        "matmul" "plain" [M 128 N 1024 K 3072] ALL NONE;
    of "experts":
        "matmul_experts" "plain" [M 1 U 4 E 16 C 1024 K 1024] EXPERTS NONE;
        "matmul_experts" "gated" [M 1 U 8 E 64 C 512 K 512] EXPERTS NONE;
        "matmul_experts" "plain" [M 512 U 4 E 16 C 512 K 512] EXPERTS NONE;
    of "odd":
        "matmul" "plain" [M 127 N 515 K 333] ALL &[F32];
        "matmul" "plain" [M 1 N 1027 K 2051] ALL NONE;
        "matmul" "plain" [M 7 N 4099 K 1021] ALL NONE;
        "softmax" "plain" [R 1023 C 1021] ONE NONE;
    of "rows":
        "layer_norm" "plain" [R 4096 C 1024] ONE ONE;
        "rms_norm" "plain" [R 4096 C 1024] ONE ONE;
        "softmax" "plain" [R 4096 C 1024] ONE ONE;
        "add" "full" [R 4096 C 1024] ONE ONE;
        "gelu" "plain" [R 4096 C 1024] ONE ONE;
        "layer_norm" "plain" [R 65536 C 64] ONE NONE;
        "softmax" "plain" [R 65536 C 64] ONE NONE;
        "softmax" "plain" [R 16 C 65536] ONE NONE;
        "softmax" "plain" [R 1 C 65536] ONE NONE;
        "layer_norm" "plain" [R 1 C 65536] ONE NONE;
        "rms_norm" "plain" [R 1 C 65536] ONE NONE;
        "l2_normalize" "plain" [R 1 C 65536] ONE NONE;
        "embed" "one" [R 4096 V 8192 C 1024] ONE ONE;
};

/// Which entries of the suite are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The short list: fewer shapes, and of each the kernel that is chosen, unless kernels are named; of int8
    /// weights and many rows also the one that rounds activations to int8.
    pub quick: bool,
    /// Only these ops; all, if there are none.
    pub ops: Vec<String>,
    /// Only these kernels; all, if there are none.
    pub kernels: Vec<String>,
    /// Only shapes of these models and kinds; all, if there are none.
    pub groups: Vec<String>,
}

/// A kernel at a shape.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What its shape is an example of.
    pub group: &'static str,
    /// The op at the shape.
    pub task: Task,
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Whether a plan for this device would take it.
    pub chosen: bool,
}

impl Selection {
    /// The entries, in the order of the suite. Kernels that do not fit a shape or the device are left out;
    /// those that compute another function, as with rounded inputs, are there: they are judged as such.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no op, kernel or group of a name, or nothing is left.
    pub fn entries(&self, profile: &Profile) -> Result<Vec<Entry>> {
        self.names()?;
        let mut out = Vec::new();
        let among = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
        for item in ITEMS.iter().filter(|i| among(&self.ops, i.op) && among(&self.groups, i.group)) {
            let Some(op) = ops::by_name(item.op) else { continue };
            let variant = op.cases.variants.iter().position(|v| *v == item.variant).unwrap_or(0);
            for &w in if self.quick { item.quick } else { item.weights } {
                let shape = Shape { sizes: Sizes::new(item.sizes), x: item.x, w, variant };
                self.of_shape(item.group, op, shape, profile, &mut out);
            }
        }
        if out.is_empty() {
            let asked = [("op", &self.ops), ("kernel", &self.kernels), ("group", &self.groups)];
            let asked = asked.into_iter().filter(|(_, names)| !names.is_empty());
            let asked: Vec<_> = asked.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
            let list = if self.quick { "short list" } else { "suite" };
            return Err(Error::Argument(format!(
                "bench: the {list} has nothing of {} that this device can run",
                asked.join(" and ")
            )));
        }
        Ok(out)
    }

    fn names(&self) -> Result<()> {
        let there = |what: &str, name: &String, all: Vec<&str>| {
            if all.contains(&name.as_str()) {
                return Ok(());
            }
            Err(Error::Argument(format!("bench: there is no {what} `{name}`; there are {}", all.join(", "))))
        };
        let mut measured: Vec<&str> = ITEMS.iter().map(|i| i.op).collect();
        measured.sort_unstable();
        measured.dedup();
        self.ops.iter().try_for_each(|name| there("op in the suite named", name, measured.clone()))?;
        let mut groups: Vec<&str> = ITEMS.iter().map(|i| i.group).collect();
        groups.dedup();
        self.groups.iter().try_for_each(|name| there("group", name, groups.clone()))?;
        let ops = measured.iter().filter_map(|name| ops::by_name(name));
        let mut kernels: Vec<&str> = ops.flat_map(|op| op.kernels).map(|k| k.name).collect();
        kernels.sort_unstable();
        kernels.dedup();
        self.kernels.iter().try_for_each(|name| there("kernel", name, kernels.clone()))
    }

    fn of_shape(
        &self,
        group: &'static str,
        op: &'static Op,
        shape: Shape,
        profile: &Profile,
        out: &mut Vec<Entry>,
    ) {
        let mut classes: Vec<Numerics> = op.kernels.iter().map(|k| k.numerics).collect();
        classes.sort_unstable();
        classes.dedup();
        for numerics in classes {
            let policy = Policy { numerics, ..Policy::default() };
            // A shape that the device has no room for is no entry.
            let Ok(Some(task)) = Task::new(op, shape, profile, &policy) else { continue };
            let chosen = (numerics == Numerics::F32).then(|| task.kernels[0]);
            let rounded =
                numerics == Numerics::Int8Activations && shape.w == I8 && shape.sizes.get(M) >= MANY_ROWS;
            for &kernel in task.kernels.iter().filter(|k| k.numerics == numerics) {
                let wanted = if self.kernels.is_empty() {
                    !self.quick || chosen == Some(kernel) || rounded
                } else {
                    self.kernels.iter().any(|k| k == kernel.name)
                };
                if wanted {
                    let chosen = chosen == Some(kernel);
                    out.push(Entry { group, task: task.clone(), kernel, chosen });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_a_case_that_can_be_planned() {
        let profile = Profile::portable();
        for item in ITEMS {
            let op = ops::by_name(item.op).unwrap();
            assert!(op.cases.variants.contains(&item.variant), "{} {}", item.op, item.variant);
            assert!(item.sizes.iter().all(|(axis, _)| op.cases.axes.iter().any(|(a, _)| a == axis)));
            assert!(item.quick.iter().all(|w| item.weights.contains(w)));
            for &w in item.weights {
                let variant = op.cases.variants.iter().position(|v| *v == item.variant).unwrap();
                let shape = Shape { sizes: Sizes::new(item.sizes), x: item.x, w, variant };
                assert!((op.cases.applies)(&shape) && op.cases.weights.contains(&w));
                let task = Task::new(op, shape, &profile, &Policy::default()).unwrap();
                assert!(task.is_some_and(|t| !t.kernels.is_empty()), "{} {:?}", item.op, item.sizes);
            }
        }
    }

    #[test]
    fn what_is_asked_for_is_there_and_what_is_not_is_an_error() {
        let profile = Profile::portable();
        let of = |quick, ops: &[&str], kernels: &[&str]| {
            let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect();
            Selection { quick, ops: names(ops), kernels: names(kernels), groups: vec![] }.entries(&profile)
        };
        let in_group =
            |name: &str| Selection { groups: vec![name.into()], ..Selection::default() }.entries(&profile);
        assert!(in_group("BERT-base").unwrap().iter().all(|e| e.group == "BERT-base"));
        assert!(in_group("BERT").unwrap_err().to_string().contains("no group `BERT`"));
        let quick = of(true, &[], &[]).unwrap();
        let (of_plans, rounded): (Vec<_>, Vec<_>) = quick.iter().partition(|e| e.chosen);
        assert!(of_plans.len() >= 15 && rounded.len() == 1);
        assert_eq!(rounded[0].kernel.name, "matmul.int8");
        let all = of(false, &[], &[]).unwrap();
        assert!(all.len() > 3 * quick.len());
        // Kernels of another class are there, and never the plan's choice.
        assert!(all.iter().any(|e| e.kernel.numerics == Numerics::Int8Activations && !e.chosen));
        assert!(of(true, &["softmax"], &[]).unwrap().iter().all(|e| e.task.op.name == "softmax"));
        let kernel = all.iter().find(|e| !e.chosen).unwrap().kernel.name;
        assert!(of(true, &[], &[kernel]).unwrap().iter().all(|e| e.kernel.name == kernel));
        let wrong = of(false, &[], &["matmul.none"]).unwrap_err().to_string();
        assert!(wrong.contains("no kernel `matmul.none`") && wrong.contains(kernel), "{wrong}");
        assert!(of(false, &["none"], &[]).unwrap_err().to_string().contains("`none`"));
        assert!(of(false, &["softmax"], &[kernel]).is_err());
    }
}
