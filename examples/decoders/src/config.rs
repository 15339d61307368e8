//! What a model is like: its sizes and habits. Those that are known by name are here, and small ones for tests.

use tachylite::op::Unary;
use tachylite::ops::rope::{Pairing, Rope};

use crate::{Error, Result};

/// A model.
#[derive(Debug, Clone, PartialEq)]
pub enum Config {
    /// Attention over all that came before.
    Transformer(Transformer),
    /// A recurrence with a state of a fixed size.
    Rwkv7(Rwkv7),
}

/// Whose layers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Llama 3.
    Llama,
    /// Qwen3, whose queries and keys are normalised head by head.
    Qwen3,
    /// Qwen3 with experts.
    Qwen3Moe,
    /// Gemma 2: windows and caps.
    Gemma2,
    /// Gemma 3: windows, and heads normalised.
    Gemma3,
    /// RWKV-7.
    Rwkv7,
}

/// How fast pairs of elements turn with the position.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotation {
    /// The base of frequencies.
    pub base: f64,
    /// Which elements are a pair.
    pub pairing: Pairing,
    /// How frequencies are stretched to longer texts.
    pub stretch: Stretch,
}

/// How frequencies are stretched.
#[derive(Debug, Clone, PartialEq)]
pub enum Stretch {
    /// They are as they are.
    None,
    /// All by a factor.
    Linear(f64),
    /// By Llama 3's rule.
    Llama3 {
        /// How much slower the slowest pairs are.
        factor: f64,
        /// Pairs that turn less than this often in `original` positions are slower by all of it.
        low: f64,
        /// Pairs that turn more often than this are as they were.
        high: f64,
        /// Positions that the model first learned on.
        original: f64,
    },
    /// Each pair by a factor of its own, as files have them.
    Divided(Vec<f64>),
}

impl Rotation {
    /// Pairs in halves, frequencies as they are.
    pub const fn plain(base: f64) -> Self {
        Self { base, pairing: Pairing::Halves, stretch: Stretch::None }
    }

    /// For heads of `width` elements.
    pub fn rope(&self, width: usize) -> Rope {
        let plain = Rope::new(width, self.base);
        let plain = if self.pairing == Pairing::Neighbours { plain.neighbours() } else { plain };
        match &self.stretch {
            Stretch::None => plain,
            Stretch::Linear(factor) => plain.linear(*factor),
            Stretch::Llama3 { factor, low, high, original } => {
                plain.llama3(*factor, (*low, *high), *original)
            }
            Stretch::Divided(factors) => plain.divided(factors),
        }
    }
}

/// Layers that see only so far back, and others between them that see all.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Keys that a query sees, its own among them.
    pub width: usize,
    /// Every so many layers, the last of them sees all.
    pub full_every: usize,
    /// How positions turn where a window is.
    pub rotation: Rotation,
}

/// Experts in the place of one feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many a token meets.
    pub used: usize,
    /// The width of each.
    pub inner: usize,
    /// Whether the weights of those met are made to sum to 1.
    pub normalised: bool,
}

/// The sizes and habits of a transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformer {
    /// Whose it is.
    pub family: Family,
    /// Layers.
    pub layers: usize,
    /// Components of a token's vector.
    pub width: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Components of a head.
    pub head_width: usize,
    /// Width of the feed-forward network.
    pub inner: usize,
    /// Tokens that there are.
    pub vocabulary: usize,
    /// The epsilon of norms.
    pub eps: f32,
    /// How positions turn.
    pub rotation: Rotation,
    /// Whether the table of tokens is what logits are made with too.
    pub tied: bool,
    /// Whether queries and keys are normalised head by head.
    pub head_norms: bool,
    /// Whether what a layer's parts make is normalised as well, before it is added.
    pub sandwich: bool,
    /// The function of what gates.
    pub gate: Unary,
    /// What the vectors of tokens are multiplied by.
    pub embedding_scale: Option<f32>,
    /// What products of queries and keys are multiplied by, if not 1/√head_width.
    pub query_scale: Option<f32>,
    /// Layers with a window.
    pub window: Option<Window>,
    /// The cap of scores.
    pub score_cap: Option<f32>,
    /// The cap of logits.
    pub logit_cap: Option<f32>,
    /// Experts, if there are any.
    pub experts: Option<Experts>,
}

/// The sizes of an RWKV-7.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rwkv7 {
    /// Layers.
    pub layers: usize,
    /// Components of a token's vector.
    pub width: usize,
    /// Components of a head.
    pub head_width: usize,
    /// Width of the channel mix.
    pub inner: usize,
    /// Tokens that there are.
    pub vocabulary: usize,
    /// Ranks of the decay, the rate of learning, the gate of values, and the gate of results.
    pub ranks: [usize; 4],
    /// The epsilon of norms over all channels.
    pub eps: f32,
}

/// Names that [`Config::named`] knows.
pub const NAMES: [&str; 9] = [
    "llama-3.2-1b",
    "llama-3.2-3b",
    "qwen3-0.6b",
    "qwen3-1.7b",
    "qwen3-30b-a3b",
    "gemma-3-270m",
    "gemma-3-1b",
    "rwkv7-0.1b",
    "rwkv7-0.4b",
];

impl Config {
    /// Itself, if nothing of it is too much to be counted, or missing.
    pub(crate) fn countable(self) -> Result<Self> {
        const MOST: usize = 1 << 24;
        let sizes = match &self {
            Self::Transformer(t) => vec![
                ("layers", t.layers),
                ("components of a token", t.width),
                ("heads", t.heads),
                ("heads of keys", t.kv_heads),
                ("components of a head", t.head_width),
                ("components within", t.inner.max(1)),
                ("tokens in its vocabulary", t.vocabulary),
            ],
            Self::Rwkv7(r) => vec![
                ("layers", r.layers),
                ("components of a token", r.width),
                ("components of a head", r.head_width),
                ("components within", r.inner),
                ("tokens in its vocabulary", r.vocabulary),
            ],
        };
        match sizes.into_iter().find(|(_, n)| !(1..=MOST).contains(n)) {
            Some((what, n)) => {
                Err(Error::new(format!("the model has {n} {what}, but 1 to {MOST} are known")))
            }
            None => Ok(self),
        }
    }

    /// A published model, by name.
    ///
    /// # Errors
    /// If the name is none of [`NAMES`].
    pub fn named(name: &str) -> Result<Self> {
        let rwkv7 = |layers, width| {
            let (inner, ranks) = (4 * width, [64, 64, 32, 128]);
            Self::Rwkv7(Rwkv7 { layers, width, head_width: 64, inner, vocabulary: 65536, ranks, eps: 1e-5 })
        };
        Ok(match name {
            "llama-3.2-1b" => Self::Transformer(llama(16, 2048, 32, 64, 8192)),
            "llama-3.2-3b" => Self::Transformer(llama(28, 3072, 24, 128, 8192)),
            "qwen3-0.6b" => Self::Transformer(qwen3(28, 1024, 16, 8, 3072)),
            "qwen3-1.7b" => Self::Transformer(qwen3(28, 2048, 16, 8, 6144)),
            "qwen3-30b-a3b" => Self::Transformer(Transformer {
                family: Family::Qwen3Moe,
                tied: false,
                experts: Some(Experts { count: 128, used: 8, inner: 768, normalised: true }),
                ..qwen3(48, 2048, 32, 4, 6144)
            }),
            "gemma-3-270m" => Self::Transformer(gemma3(18, 640, 2048)),
            "gemma-3-1b" => Self::Transformer(gemma3(26, 1152, 6912)),
            "rwkv7-0.1b" => rwkv7(12, 768),
            "rwkv7-0.4b" => rwkv7(24, 1024),
            _ => {
                return Err(Error::new(format!(
                    "there is no model `{name}`; those known by name are {}",
                    NAMES.join(", ")
                )));
            }
        })
    }

    /// A model of a family that is small enough for any test: two layers (Gemma: three), all of the family's
    /// habits, and widths that are whole blocks of 256 where weights have many rows.
    pub fn tiny(family: Family) -> Self {
        let small = |t: Transformer, layers: usize| Transformer {
            layers,
            width: 256,
            heads: 4,
            kv_heads: 2,
            head_width: 32,
            inner: 256,
            vocabulary: 320,
            ..t
        };
        let (llama, qwen3) = (llama(2, 256, 4, 32, 256), qwen3(2, 256, 4, 2, 256));
        let gemma = small(gemma3(3, 256, 256), 3);
        let rotation = Rotation::plain(1e4);
        let window = Some(Window { width: 4, full_every: 3, rotation: rotation.clone() });
        Self::Transformer(match family {
            Family::Llama => small(llama, 2),
            Family::Qwen3 => small(qwen3, 2),
            Family::Qwen3Moe => Transformer {
                family,
                tied: false,
                experts: Some(Experts { count: 5, used: 2, inner: 256, normalised: true }),
                ..small(qwen3, 2)
            },
            Family::Gemma2 => Transformer {
                family,
                head_norms: false,
                score_cap: Some(50.0),
                logit_cap: Some(30.0),
                rotation,
                window: window.map(|w| Window { full_every: 2, ..w }),
                ..gemma
            },
            Family::Gemma3 => Transformer { window, ..gemma },
            Family::Rwkv7 => {
                let (layers, width, head_width, vocabulary) = (2, 256, 64, 320);
                let ranks = [32, 32, 32, 64];
                return Self::Rwkv7(Rwkv7 {
                    layers,
                    width,
                    head_width,
                    inner: 512,
                    vocabulary,
                    ranks,
                    eps: 1e-5,
                });
            }
        })
    }

    /// Whose layers they are.
    pub const fn family(&self) -> Family {
        match self {
            Self::Transformer(t) => t.family,
            Self::Rwkv7(_) => Family::Rwkv7,
        }
    }

    /// Tokens that there are.
    pub const fn vocabulary(&self) -> usize {
        match self {
            Self::Transformer(t) => t.vocabulary,
            Self::Rwkv7(r) => r.vocabulary,
        }
    }

    /// Layers.
    pub const fn layers(&self) -> usize {
        match self {
            Self::Transformer(t) => t.layers,
            Self::Rwkv7(r) => r.layers,
        }
    }

    /// The same with fewer layers, to measure with; with more it is as it was.
    #[must_use]
    pub fn shortened(mut self, most: usize) -> Self {
        let layers = match &mut self {
            Self::Transformer(t) => &mut t.layers,
            Self::Rwkv7(r) => &mut r.layers,
        };
        *layers = most.min(*layers);
        self
    }
}

fn llama(layers: usize, width: usize, heads: usize, head_width: usize, inner: usize) -> Transformer {
    let stretch = Stretch::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original: 8192.0 };
    Transformer {
        family: Family::Llama,
        layers,
        width,
        heads,
        kv_heads: 8,
        head_width,
        inner,
        vocabulary: 128_256,
        eps: 1e-5,
        rotation: Rotation { stretch, ..Rotation::plain(5e5) },
        tied: true,
        head_norms: false,
        sandwich: false,
        gate: Unary::Silu,
        embedding_scale: None,
        query_scale: None,
        window: None,
        score_cap: None,
        logit_cap: None,
        experts: None,
    }
}

fn qwen3(layers: usize, width: usize, heads: usize, kv_heads: usize, inner: usize) -> Transformer {
    Transformer {
        family: Family::Qwen3,
        kv_heads,
        vocabulary: 151_936,
        eps: 1e-6,
        rotation: Rotation::plain(1e6),
        head_norms: true,
        ..llama(layers, width, heads, 128, inner)
    }
}

fn gemma3(layers: usize, width: usize, inner: usize) -> Transformer {
    Transformer {
        family: Family::Gemma3,
        kv_heads: 1,
        vocabulary: 262_144,
        eps: 1e-6,
        rotation: Rotation::plain(1e6),
        head_norms: true,
        sandwich: true,
        gate: Unary::GeluTanh,
        embedding_scale: Some((width as f32).sqrt()),
        query_scale: Some(1.0 / 16.0),
        window: Some(Window { width: 512, full_every: 6, rotation: Rotation::plain(1e4) }),
        ..llama(layers, width, 4, 256, inner)
    }
}
