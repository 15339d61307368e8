//! What the virtual GPU finds wrong with a shader.

use std::fmt;

use super::program::Place;

/// What is wrong. Those for which [`Kind::is_warning`] holds are defined by WGSL, but hardly meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Two lanes of a workgroup use one location between barriers, and not both read it or use atomics.
    RaceWorkgroup,
    /// Two workgroups of a dispatch use one location, and not both read it or use atomics.
    RaceDispatch,
    /// An index past the end, or below 0.
    OutOfBounds,
    /// What comes of reading memory that nothing wrote reaches a condition, an index or an output.
    UnwrittenRead,
    /// A barrier or a subgroup operation that not all lanes reach.
    NonUniform,
    /// NaN or infinity born from finite operands reaches a condition, an index or an output.
    NonFinite,
    /// A conversion to f16 of more than its largest number.
    F16Overflow,
    /// A loop that runs past the bound.
    EndlessLoop,
    /// An output element that nothing wrote.
    NeverWritten,
    /// Personalities differ by more than rounding explains.
    Differs,
    /// An integer divided by 0, or the least integer by -1.
    DivisionByZero,
    /// A shift by the width or more.
    ShiftWidth,
    /// A float converted to an integer type that cannot hold it.
    ConversionRange,
    /// Workgroup memory read before anything was written there: zero.
    UnwrittenWorkgroup,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::RaceWorkgroup,
        Self::RaceDispatch,
        Self::OutOfBounds,
        Self::UnwrittenRead,
        Self::NonUniform,
        Self::NonFinite,
        Self::F16Overflow,
        Self::EndlessLoop,
        Self::NeverWritten,
        Self::Differs,
        Self::DivisionByZero,
        Self::ShiftWidth,
        Self::ConversionRange,
        Self::UnwrittenWorkgroup,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RaceWorkgroup => "race-workgroup",
            Self::RaceDispatch => "race-dispatch",
            Self::OutOfBounds => "out-of-bounds",
            Self::UnwrittenRead => "unwritten-read",
            Self::NonUniform => "non-uniform",
            Self::NonFinite => "nonfinite",
            Self::F16Overflow => "f16-overflow",
            Self::EndlessLoop => "endless-loop",
            Self::NeverWritten => "never-written",
            Self::Differs => "differs",
            Self::DivisionByZero => "division-by-zero",
            Self::ShiftWidth => "shift-width",
            Self::ConversionRange => "conversion-range",
            Self::UnwrittenWorkgroup => "unwritten-workgroup",
        }
    }

    /// Whether WGSL defines what happens.
    pub const fn is_warning(self) -> bool {
        matches!(
            self,
            Self::DivisionByZero | Self::ShiftWidth | Self::ConversionRange | Self::UnwrittenWorkgroup
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whether it writes.
    pub write: bool,
    /// Where it stands.
    pub file: String,
    /// Where it stands.
    pub place: Place,
    /// Who does it.
    pub workgroup: [u32; 3],
    /// Who does it.
    pub lane: u32,
}

/// Something wrong, where it was seen first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// The kernel, or the entry point.
    pub kernel: String,
    /// The file that the line is in.
    pub file: String,
    /// Where.
    pub place: Place,
    /// In which workgroup.
    pub workgroup: [u32; 3],
    /// In which lane of it, by `local_invocation_index`.
    pub lane: u32,
    /// The variable that it is about.
    pub buffer: Option<String>,
    /// The index, or the element's number; for a conflict the word's number in the variable.
    pub index: Option<i64>,
    /// How many elements the variable has, for an index past the end.
    pub count: Option<u64>,
    /// Of a conflict, whether this access writes.
    pub writes: bool,
    /// The other access of a conflict.
    pub other: Option<Access>,
    /// Where the value is used at last, if that is what makes it wrong.
    pub used: Option<(String, Place)>,
    /// Under which personality it was seen.
    pub personality: String,
    /// What more there is to say, in a sentence without its end; may be empty.
    pub detail: String,
}

impl fmt::Display for Finding {
    /// One sentence, without file, line and kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.workgroup;
        let what = match self.kind {
            Kind::RaceWorkgroup => "a race inside a workgroup",
            Kind::RaceDispatch => "a race between workgroups",
            Kind::OutOfBounds => "an index past the end",
            Kind::UnwrittenRead => "a value read from memory that nothing wrote",
            Kind::NonUniform => "not all lanes get here",
            Kind::NonFinite => "NaN or infinity born from finite operands",
            Kind::F16Overflow => "more than the largest f16",
            Kind::EndlessLoop => "a loop that is not done after 1048576 iterations",
            Kind::NeverWritten => "an output element that nothing wrote",
            Kind::Differs => "a result that differs by more than rounding explains",
            Kind::DivisionByZero => "an integer division without a result",
            Kind::ShiftWidth => "a shift by the width or more",
            Kind::ConversionRange => "a float that the integer type cannot hold",
            Kind::UnwrittenWorkgroup => "workgroup memory read before anything was written there",
        };
        f.write_str(what)?;
        match (&self.buffer, self.index) {
            (Some(buffer), Some(index)) => write!(f, ": {buffer}[{index}]")?,
            (Some(buffer), None) => write!(f, ": {buffer}")?,
            (None, _) => {}
        }
        if let Some(count) = self.count {
            write!(f, " of {count}")?;
        }
        let did = |writes| if writes { "written" } else { "read" };
        match (&self.other, self.kind) {
            // What nobody wrote has no lane.
            (_, Kind::NeverWritten) => {}
            (Some(_), _) => write!(f, ", {} by lane {}", did(self.writes), self.lane)?,
            (None, _) => write!(f, ", lane {}", self.lane)?,
        }
        if self.kind != Kind::NeverWritten {
            write!(f, " of workgroup ({x}, {y}, {z})")?;
        }
        if let Some(other) = &self.other {
            let [ox, oy, oz] = other.workgroup;
            let did = did(other.write);
            write!(f, "; {did} at {}:{} by lane {}", other.file, other.place, other.lane)?;
            if other.workgroup != self.workgroup {
                write!(f, " of workgroup ({ox}, {oy}, {oz})")?;
            }
        }
        if let Some((file, place)) = &self.used {
            write!(f, "; it is used at {file}:{place}")?;
        }
        if !self.detail.is_empty() {
            write!(f, "; {}", self.detail)?;
        }
        write!(f, " [{}]", self.personality)
    }
}
