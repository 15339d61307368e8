//! Which integers are not meant as integers: words that hold packed floats, or the bits of one, and may
//! differ as these may. Found by following values from where they are packed to where they are stored,
//! through variables, calls and bit operations; comparisons and conversions end the way.

use std::collections::HashMap;

use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    BinaryOperator, Block, Expression, Function, GlobalVariable, Handle, LocalVariable, MathFunction, Module,
    ScalarKind, Statement,
};

/// What a word holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Words {
    /// The bits of an f32.
    Float,
    /// Two f16.
    Halves,
    /// Two numbers of 16 bits that rounding may change by one.
    Shorts,
    /// Four numbers of 8 bits that rounding may change by one.
    Bytes,
}

/// What can hold a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Global(Handle<GlobalVariable>),
    Local(usize, Handle<LocalVariable>),
    Argument(usize, u32),
    Result(usize),
    /// An expression that a statement gives its value.
    Given(usize, Handle<Expression>),
}

/// What the words of global variables are, where their type does not say it.
pub(super) fn of_globals(module: &Module, info: &ModuleInfo) -> HashMap<Handle<GlobalVariable>, Words> {
    let entries = module.entry_points.iter().enumerate();
    let entries = entries.map(|(i, e)| (module.functions.len() + i, &e.function, info.get_entry_point(i)));
    let functions: Vec<_> =
        module.functions.iter().map(|(h, f)| (h.index(), f, &info[h])).chain(entries).collect();
    let mut held = HashMap::new();
    loop {
        let before = held.len();
        for (number, function, info) in &functions {
            Walk { module, info, number: *number, function, held: &mut held }.block(&function.body);
        }
        // What is held never goes, so this ends.
        if held.len() == before {
            break;
        }
    }
    let global = |(holder, words)| if let Holder::Global(v) = holder { Some((v, words)) } else { None };
    held.into_iter().filter_map(global).collect()
}

struct Walk<'a> {
    module: &'a Module,
    info: &'a FunctionInfo,
    number: usize,
    function: &'a Function,
    held: &'a mut HashMap<Holder, Words>,
}

impl Walk<'_> {
    fn block(&mut self, block: &Block) {
        for statement in block {
            match statement {
                Statement::Block(block) => self.block(block),
                Statement::If { accept, reject, .. } => {
                    self.block(accept);
                    self.block(reject);
                }
                Statement::Switch { cases, .. } => cases.iter().for_each(|case| self.block(&case.body)),
                Statement::Loop { body, continuing, .. } => {
                    self.block(body);
                    self.block(continuing);
                }
                Statement::Store { pointer, value } | Statement::Atomic { pointer, value, .. } => {
                    if let Some(holder) = self.root(*pointer) {
                        self.hold(holder, *value);
                    }
                }
                Statement::Return { value: Some(value) } => self.hold(Holder::Result(self.number), *value),
                Statement::Call { function, arguments, .. } => {
                    for (i, argument) in arguments.iter().enumerate() {
                        self.hold(Holder::Argument(function.index(), i as u32), *argument);
                    }
                }
                Statement::WorkGroupUniformLoad { pointer, result } => {
                    let words = self.root(*pointer).and_then(|root| self.held.get(&root).copied());
                    self.keep(Holder::Given(self.number, *result), words);
                }
                Statement::SubgroupGather { argument, result, .. } => {
                    self.hold(Holder::Given(self.number, *result), *argument);
                }
                _ => {}
            }
        }
    }

    fn hold(&mut self, holder: Holder, value: Handle<Expression>) {
        let words = self.words(value);
        self.keep(holder, words);
    }

    fn keep(&mut self, holder: Holder, words: Option<Words>) {
        if let Some(words) = words {
            self.held.entry(holder).or_insert(words);
        }
    }

    /// The variable that a pointer leads into.
    fn root(&self, pointer: Handle<Expression>) -> Option<Holder> {
        match self.function.expressions[pointer] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.root(base),
            Expression::GlobalVariable(v) => Some(Holder::Global(v)),
            Expression::LocalVariable(v) => Some(Holder::Local(self.number, v)),
            _ => None,
        }
    }

    fn words(&self, value: Handle<Expression>) -> Option<Words> {
        let held = |holder| self.held.get(&holder).copied();
        match &self.function.expressions[value] {
            Expression::Math { fun, arg, .. } => match fun {
                MathFunction::Pack2x16float => Some(Words::Halves),
                MathFunction::Pack2x16snorm | MathFunction::Pack2x16unorm => Some(Words::Shorts),
                MathFunction::Pack4x8snorm | MathFunction::Pack4x8unorm => Some(Words::Bytes),
                MathFunction::ExtractBits | MathFunction::InsertBits => self.words(*arg),
                _ => None,
            },
            Expression::As { expr, kind: ScalarKind::Sint | ScalarKind::Uint, convert } => {
                match (self.is_float(*expr), convert) {
                    (true, None) => Some(Words::Float),
                    (true, Some(_)) => None,
                    (false, _) => self.words(*expr),
                }
            }
            Expression::Binary { op, left, right } => {
                use BinaryOperator as B;
                let keeps = matches!(
                    op,
                    B::And | B::InclusiveOr | B::ExclusiveOr | B::ShiftLeft | B::ShiftRight | B::Add
                );
                if keeps { self.words(*left).or_else(|| self.words(*right)) } else { None }
            }
            Expression::Select { accept, reject, .. } => self.words(*accept).or_else(|| self.words(*reject)),
            Expression::Compose { components, .. } => components.iter().find_map(|c| self.words(*c)),
            Expression::Splat { value: base, .. }
            | Expression::Swizzle { vector: base, .. }
            | Expression::Access { base, .. }
            | Expression::AccessIndex { base, .. }
            | Expression::Unary { expr: base, .. } => self.words(*base),
            Expression::Load { pointer } => self.root(*pointer).and_then(held),
            Expression::FunctionArgument(i) => held(Holder::Argument(self.number, *i)),
            Expression::CallResult(f) => held(Holder::Result(f.index())),
            Expression::WorkGroupUniformLoadResult { .. } | Expression::SubgroupOperationResult { .. } => {
                held(Holder::Given(self.number, value))
            }
            _ => None,
        }
    }

    fn is_float(&self, value: Handle<Expression>) -> bool {
        let inner = self.info[value].ty.inner_with(&self.module.types);
        inner.scalar_kind() == Some(ScalarKind::Float)
    }
}
