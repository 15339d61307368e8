//! Blocks whose elements are codes of a few bits, which lie in planes, and stand for numbers that are
//! multiplied with a scale of their part of the block.

/// Bits of all the codes of a block. `run` bytes in a row hold elements side by side, at the lowest bits of
/// each byte the first `run` of them, then the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plane {
    /// Where it begins in the block, in bytes.
    pub at: usize,
    /// Bits of an element: 1, 2, 4 or 8.
    pub bits: usize,
    /// Bytes of a run.
    pub run: usize,
}

impl Plane {
    /// A plane.
    pub const fn new(at: usize, bits: usize, run: usize) -> Self {
        Self { at, bits, run }
    }

    /// The byte of an element in a block, and its lowest bit there.
    pub const fn place(&self, element: usize) -> (usize, usize) {
        let each = 8 / self.bits;
        let byte = self.at + element / (self.run * each) * self.run + element % self.run;
        (byte, element / self.run % each * self.bits)
    }

    /// The bits of an element.
    pub fn get(&self, block: &[u8], element: usize) -> u8 {
        let (byte, shift) = self.place(element);
        block[byte] >> shift & (0xff >> (8 - self.bits))
    }

    /// Sets the bits of an element; higher bits of `code` are left out.
    pub fn put(&self, block: &mut [u8], element: usize, code: u8) {
        let ((byte, shift), mask) = (self.place(element), 0xff >> (8 - self.bits));
        block[byte] = block[byte] & !(mask << shift) | (code & mask) << shift;
    }
}

/// What codes stand for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Codes {
    /// The code less this.
    Less(u8),
    /// The code as int8.
    Signed,
    /// The number in a table.
    Table(&'static [i8; 16]),
}

impl Codes {
    /// The number that a code stands for.
    pub fn number(self, code: u8) -> f64 {
        match self {
            Self::Less(zero) => f64::from(code) - f64::from(zero),
            Self::Signed => f64::from(code as i8),
            Self::Table(table) => f64::from(table[usize::from(code & 15)]),
        }
    }
}

/// A format of such blocks: an element is `scale·number(code) + least`.
#[derive(Debug)]
pub(crate) struct Packed {
    /// The bits of codes, the lowest first.
    pub planes: &'static [Plane],
    /// Elements that share a scale.
    pub part: usize,
    /// What codes stand for.
    pub codes: Codes,
    /// Where the f16 of a block lie that everything in it is multiplied with, in bytes.
    pub halves: &'static [usize],
    /// Or where the exponent of that lies, of which 128 is 1.
    pub exponent: Option<usize>,
    /// The bytes of a block that hold its scales, in pieces: from, to, and how many a device keeps together.
    pub scales: &'static [(usize, usize, usize)],
    /// Scale and least of a part of a block. Without a least it is -0, which changes no sum's sign.
    pub scale: fn(&[u8], usize) -> (f64, f64),
}

impl Packed {
    /// The code that stands for 0; 0 where codes are looked up.
    pub const fn zero(&self) -> u8 {
        match self.codes {
            Codes::Less(zero) => zero,
            _ => 0,
        }
    }

    /// Whether something is added to scaled codes.
    pub const fn has_least(&self) -> bool {
        self.halves.len() > 1
    }

    /// What codes stand for, as `shaders/lib/weight_planes.wgsl` counts: numbers, those of e2m1, those of IQ4.
    pub const fn table(&self) -> u32 {
        match self.codes {
            Codes::Table(table) => {
                if table[0] == 0 {
                    1
                } else {
                    2
                }
            }
            _ => 0,
        }
    }

    /// The code of an element.
    pub fn code(&self, block: &[u8], element: usize) -> u8 {
        let (mut code, mut shift) = (0, 0);
        for plane in self.planes {
            code |= plane.get(block, element) << shift;
            shift += plane.bits;
        }
        code
    }

    /// Sets the code of an element.
    pub fn put(&self, block: &mut [u8], element: usize, code: u8) {
        let mut shift = 0;
        for plane in self.planes {
            plane.put(block, element, code >> shift);
            shift += plane.bits;
        }
    }

    /// The values of a block.
    pub fn unpack(&self, block: &[u8], values: &mut [f64]) {
        for (part, values) in values.chunks_mut(self.part).enumerate() {
            let (scale, least) = (self.scale)(block, part);
            for (i, v) in values.iter_mut().enumerate() {
                *v = scale * self.codes.number(self.code(block, part * self.part + i)) + least;
            }
        }
    }

    /// Sets what everything in a block is multiplied with: the scale, and the least where that is by itself. An
    /// exponent becomes that of the power of two that is not larger.
    pub fn set_size(&self, block: &mut [u8], scale: f64, least: f64) {
        for (at, v) in self.halves.iter().zip([scale, least]) {
            super::put_half(block, *at, v as f32);
        }
        if let Some(at) = self.exponent {
            block[at] = (scale.abs().log2().floor() + 128.0).clamp(0.0, 254.0) as u8;
        }
    }
}
