//! What the interpreter runs: one flat, scalar program for each entry point.
//!
//! All functions are inlined (WGSL has no recursion) and every vector, array and struct *value* is taken
//! apart into scalars, so composing, splatting, swizzling and taking components cost nothing. A
//! [`Reg`] is a row of 32-bit words, one for each lane of the workgroup. An instruction computes all
//! lanes at once; lanes that are not active compute what nobody reads, unless the destination is a
//! variable, which only active lanes change.

use std::fmt;

mod functions;

pub use functions::{AtomicOp, Binary, Fold, Pack, Subgroup, Ternary, Unary};

/// A register: one 32-bit word for each lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub u32);

/// Where an instruction comes from: a place in [`Program::sites`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site(pub u32);

/// What a register's words mean to an instruction.
///
/// An `F16` is kept as the f32 of the same value; a `Bool` is 0 or `u32::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ty {
    /// `f32`.
    F32,
    /// `f16`.
    F16,
    /// `i32`.
    I32,
    /// `u32`.
    U32,
    /// `bool`.
    Bool,
}

/// Which memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// A place in [`Program::buffers`].
    Buffer(u32),
    /// Workgroup memory: one piece of [`Program::workgroup_bytes`] for all its variables.
    Workgroup,
}

/// A dynamic step of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The index, an `i32` or `u32`.
    pub index: Reg,
    /// Whether the index is an `i32`, and may be negative.
    pub signed: bool,
    /// Bytes from one element to the next; for registers, registers.
    pub stride: u32,
    /// How many elements there are; 0 for a runtime-sized array, whose number the buffer's size says.
    pub count: u32,
}

/// A place in memory, different for each lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Address {
    /// Which memory.
    pub space: Space,
    /// Bytes from its start, constant steps included.
    pub base: u32,
    /// What is added. A constant index into a runtime-sized array is a term too, so that it is checked.
    pub terms: Vec<Term>,
    /// A place in [`Program::names`]: the variable, for messages.
    pub name: u32,
}

/// A scalar of a value in memory: how far behind the address it lies, and of which type it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The register that holds it.
    pub reg: Reg,
    /// Bytes behind the address.
    pub offset: u32,
    /// Its type; an `F16` takes 2 bytes, all others 4.
    pub ty: Ty,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The same word: a copy, or a bitcast between types of 32 bits.
    Copy { dst: Reg, src: Reg },
    /// One operand.
    Unary { op: Unary, ty: Ty, dst: Reg, a: Reg },
    /// Two operands; `ty` is the operands'.
    Binary { op: Binary, ty: Ty, dst: Reg, a: Reg, b: Reg },
    /// Three operands.
    Ternary { op: Ternary, ty: Ty, dst: Reg, a: Reg, b: Reg, c: Reg },
    /// `select(reject, accept, condition)`.
    Select { dst: Reg, condition: Reg, accept: Reg, reject: Reg },
    /// A value conversion.
    Convert { from: Ty, to: Ty, dst: Reg, a: Reg },
    /// Packing, unpacking and the like.
    Pack { op: Pack, ty: Ty, dst: Vec<Reg>, args: Vec<Reg> },
    /// A sum of products, in an order that is not said.
    Dot { ty: Ty, dst: Reg, a: Vec<Reg>, b: Vec<Reg> },
    /// Reads a value from memory.
    Load { at: Address, parts: Vec<Part> },
    /// Writes a value to memory.
    Store { at: Address, parts: Vec<Part> },
    /// Reads a register of a variable that is found by indices: `base` and the terms are in registers.
    LoadVar { dst: Vec<Reg>, base: Reg, terms: Vec<Term>, name: u32 },
    /// Writes registers of a variable that is found by indices.
    StoreVar { src: Vec<Reg>, base: Reg, terms: Vec<Term>, name: u32 },
    /// An atomic on a 32-bit word. `args`: the value; for an exchange that compares, first what it compares
    /// with. `dst`: the old value, if it is used, and whether it was exchanged.
    Atomic { op: AtomicOp, ty: Ty, at: Address, dst: Vec<Reg>, args: Vec<Reg> },
    /// How many elements the runtime-sized array at the end of a buffer has: (bytes - `offset`) / `stride`.
    ArrayLength { dst: Reg, buffer: u32, offset: u32, stride: u32 },
    /// A barrier for the whole workgroup, and which memories it orders; with `subgroup`, one for
    /// the subgroup alone.
    Barrier { workgroup: bool, storage: bool, subgroup: bool },
    /// `workgroupUniformLoad`: a barrier, a load that must be the same for all lanes, a barrier.
    UniformLoad { at: Address, parts: Vec<Part> },
    /// An operation on the subgroup's lanes.
    Subgroup { op: Subgroup, ty: Ty, dst: Reg, a: Reg, arg: Option<Reg> },
    /// `subgroupBallot`: four words; without a predicate, every active lane.
    Ballot { dst: [Reg; 4], predicate: Option<Reg> },
    /// `coopLoad`: a matrix, column-major in `dst`, that the lanes of a subgroup hold together (every lane
    /// has a copy); `stride` in elements. In memory, `row_major` says how it lies.
    CoopLoad { at: Address, ty: Ty, stride: Reg, row_major: bool, rows: u32, columns: u32, dst: Vec<Reg> },
    /// `coopStore`.
    CoopStore { at: Address, ty: Ty, stride: Reg, row_major: bool, rows: u32, columns: u32, src: Vec<Reg> },
    /// `coopMultiplyAdd`: `dst = a · b + c`, `a` of `rows` x `inner`, all column-major.
    CoopMultiplyAdd {
        /// Type of `a` and `b`.
        ty: Ty,
        /// Type of `c` and the result.
        sum: Ty,
        rows: u32,
        inner: u32,
        columns: u32,
        dst: Vec<Reg>,
        a: Vec<Reg>,
        b: Vec<Reg>,
        c: Vec<Reg>,
    },
}

/// An instruction.
#[derive(Debug, Clone, PartialEq)]
pub struct Inst {
    /// What to do.
    pub op: Op,
    /// Where it stands.
    pub site: Site,
    /// Whether the destination is a variable, so that lanes that are not active keep what they have.
    pub masked: bool,
}

/// A name for what [`Node::Exit`] leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeId(pub u32);

/// Structured control flow.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Instructions that follow each other.
    Run(Vec<Inst>),
    /// A branch.
    If {
        /// The condition. It is read once, before either side is run: these may use its register again.
        condition: Reg,
        /// Taken where it is true.
        accept: Vec<Node>,
        /// Taken where it is false.
        reject: Vec<Node>,
        /// Where it stands.
        site: Site,
    },
    /// A region that lanes can leave early: a switch, or the body of an inlined function.
    Scope {
        /// Its name.
        id: ScopeId,
        /// What is inside.
        body: Vec<Node>,
    },
    /// A loop: the body, which `continue` leaves through `id_continue`, then `continuing`, then the test
    /// of `break_if`; `break` leaves through `id`.
    Loop {
        /// Its name.
        id: ScopeId,
        /// The name of its body.
        id_continue: ScopeId,
        /// The body.
        body: Vec<Node>,
        /// What follows every time.
        continuing: Vec<Node>,
        /// Ends the loop where it is true.
        break_if: Option<Reg>,
        /// Where it stands.
        site: Site,
    },
    /// The active lanes leave a scope or loop around them.
    Exit(ScopeId),
}

/// A buffer that the program binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferDecl {
    /// The variable's name.
    pub name: String,
    /// Group and binding; `None` for immediates.
    pub binding: Option<(u32, u32)>,
    /// What it is for.
    pub kind: BufferKind,
    /// The least bytes that must be bound.
    pub min_bytes: u32,
    /// Of a runtime-sized array at its end: where it starts and from element to element, in bytes.
    pub runtime: Option<(u32, u32)>,
    /// What its elements are: one repetition of scalars (offset in bytes, type), from `runtime`'s start or
    /// from 0, so that tools can fill it by type. Gaps are padding.
    pub scalars: Vec<(u32, Ty)>,
}

/// What a buffer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BufferKind {
    /// `var<uniform>`, or immediates.
    Uniform,
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// A built-in value that lanes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// Component of `global_invocation_id`.
    GlobalId(u8),
    /// Component of `local_invocation_id`.
    LocalId(u8),
    /// `local_invocation_index`.
    LocalIndex,
    /// Component of `workgroup_id`.
    WorkgroupId(u8),
    /// Component of `num_workgroups`.
    NumWorkgroups(u8),
    /// `subgroup_size`.
    SubgroupSize,
    /// `subgroup_invocation_id`.
    SubgroupInvocationId,
    /// `subgroup_id`.
    SubgroupId,
    /// `num_subgroups`.
    NumSubgroups,
}

/// A place in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    /// Line, from 1; 0 if it is not known.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// An entry point, ready to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The entry point's name.
    pub name: String,
    /// Lanes in a workgroup along each axis.
    pub workgroup_size: [u32; 3],
    /// What it binds.
    pub buffers: Vec<BufferDecl>,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Variables in workgroup memory with their first byte and size, in the order in which they lie.
    pub workgroup_variables: Vec<(String, u32, u32)>,
    /// How many registers there are.
    pub registers: u32,
    /// Registers that hold a constant from the beginning and are never written.
    pub constants: Vec<(Reg, u32)>,
    /// Registers that hold built-in values at the beginning.
    pub inputs: Vec<(Reg, Input)>,
    /// What is run.
    pub body: Vec<Node>,
    /// The scope that the entry point is, which `return` leaves.
    pub root: ScopeId,
    /// How many scopes there are; their names are below this.
    pub scopes: u32,
    /// Where instructions come from.
    pub sites: Vec<Place>,
    /// Names of variables.
    pub names: Vec<String>,
    /// Whether memory holds f16, so that accesses are to be told apart by half a word.
    pub halves: bool,
    /// Whether it has atomics on storage, so that the order of workgroups can matter.
    pub atomics: bool,
}

impl Program {
    /// Lanes in a workgroup.
    pub fn lanes(&self) -> u32 {
        self.workgroup_size.iter().product()
    }

    /// Locations in a word of memory: two where memory holds f16.
    pub fn per_word(&self) -> usize {
        if self.halves { 2 } else { 1 }
    }

    /// The location that a byte of memory belongs to, as its users are counted.
    pub fn location(&self, byte: u32) -> usize {
        byte as usize / (4 / self.per_word())
    }

    /// Where a variable, by its place in `names`, is first stored to.
    pub fn first_store(&self, name: u32) -> Option<Site> {
        fn find(nodes: &[Node], name: u32) -> Option<Site> {
            nodes.iter().find_map(|node| match node {
                Node::Run(run) => run.iter().find(|inst| inst.stores_to(name)).map(|inst| inst.site),
                Node::If { accept, reject, .. } => find(accept, name).or_else(|| find(reject, name)),
                Node::Scope { body, .. } => find(body, name),
                Node::Loop { body, continuing, .. } => find(body, name).or_else(|| find(continuing, name)),
                Node::Exit(_) => None,
            })
        }
        find(&self.body, name)
    }
}

impl Inst {
    fn stores_to(&self, name: u32) -> bool {
        match &self.op {
            Op::Store { at, .. } | Op::Atomic { at, .. } | Op::CoopStore { at, .. } => at.name == name,
            _ => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
