//! Runs plans on the host, in f64, kernel by kernel as their files' headers say, over the plan's
//! own buffers, bindings and parameters. Weights are prepared, chains are read off the WGSL.

use std::collections::HashMap;

use half::f16;
use tachylite::kernel::Composed;
use tachylite::plan::prepare::{Weights, prepare};
use tachylite::plan::{Param, Plan, Role, Step, WeightForm};
use tachylite::{Call, DType};

/// Elements of a buffer, whatever they are; NaN where nothing was written.
type Memory = Vec<Vec<f64>>;

fn decode(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        DType::F32 => {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
        }
        DType::F16 => {
            bytes.chunks_exact(2).map(|b| f16::from_le_bytes(b.try_into().unwrap()).into()).collect()
        }
        DType::U32 => {
            bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap()).into()).collect()
        }
        _ => bytes.iter().map(|b| f64::from(*b as i8)).collect(),
    }
}

/// The outputs of one call.
pub fn run(plan: &Plan, call: &Call, tensors: &Weights) -> Vec<Vec<f64>> {
    let mut memory: Memory = plan.buffers.iter().map(|b| vec![f64::NAN; b.bytes as usize]).collect();
    for (buffer, spec) in plan.buffers.iter().enumerate() {
        let elements = match spec.role {
            Role::Input(i) | Role::State(i) => {
                let port = &plan.inputs[i];
                decode(port.dtype, &port.pack(&plan.scalars, call, &tensors[&port.name]).unwrap())
            }
            Role::Weight(i) => {
                let weight = &plan.weights[i];
                let bytes = prepare(weight, tensors).unwrap();
                assert_eq!(bytes.len() as u64, spec.bytes);
                decode(
                    if weight.form == WeightForm::BlockScales { DType::F16 } else { weight.sources[0].dtype },
                    &bytes,
                )
            }
            _ => continue,
        };
        memory[buffer][..elements.len()].copy_from_slice(&elements);
    }
    for step in &plan.steps {
        let reads: Vec<_> = step.bindings.iter().filter(|b| !b.write).map(|b| b.buffer).collect();
        assert!(
            step.bindings.iter().all(|b| !b.write || !reads.contains(&b.buffer)),
            "{step:?} writes what it reads"
        );
        Run::of(plan, step, call, &mut memory).dispatch();
    }
    let outputs = plan.outputs.iter().map(|port| {
        let shape = port.shape_in(call);
        let strides: Vec<_> = port.layout.strides.iter().map(|d| d.eval(call) as usize).collect();
        let at = |i: usize| indices(&shape, i).iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>();
        (0..shape.iter().product()).map(|i| memory[port.buffer][at(i)]).collect()
    });
    outputs.collect()
}

fn indices(shape: &[usize], mut i: usize) -> Vec<usize> {
    let mut out = vec![0; shape.len()];
    for (index, n) in out.iter_mut().zip(shape).rev() {
        *index = i % n;
        i /= n;
    }
    out
}

struct Run<'a> {
    step: &'a Step,
    kernel: &'a Composed,
    params: HashMap<&'a str, f64>,
    /// Buffer, and how many groups of four it holds.
    bindings: HashMap<&'a str, (usize, usize)>,
    chains: HashMap<&'static str, Vec<&'a str>>,
    memory: &'a mut Memory,
}

/// The bytes of a group of a binding, read off its declaration.
fn group_bytes(wgsl: &str, name: &str) -> usize {
    let declared = wgsl.lines().find(|l| l.contains(&format!("> {name}: array<"))).unwrap();
    let mut group = declared.split("array<").nth(1).unwrap().trim_end_matches(">;");
    let alias = format!("alias {group} = ");
    if let Some(l) = wgsl.lines().find(|l| l.starts_with(&alias)) {
        group = l[alias.len()..].split(';').next().unwrap();
    }
    match group {
        "vec4<f32>" => 16,
        "vec2<u32>" => 8,
        _ => 4,
    }
}

impl<'a> Run<'a> {
    fn of(plan: &'a Plan, step: &'a Step, call: &Call, memory: &'a mut Memory) -> Self {
        let kernel = &plan.kernels[step.kernel];
        let params = kernel.params.iter().zip(&step.params).map(|(decl, param)| {
            let value = match param {
                Param::U32(e) => e.eval(call) as f64,
                Param::F32(v) => f64::from(*v),
                Param::Scalar(id) => call.get(*id),
            };
            (decl.name.as_str(), value)
        });
        let bindings = step.bindings.iter().map(|b| {
            let bytes = plan.buffers[b.buffer].bytes as usize;
            (b.name.as_str(), (b.buffer, bytes / group_bytes(&kernel.wgsl, &b.name)))
        });
        let chains = ["pre", "post"].into_iter().filter_map(|hook| {
            let body = kernel.wgsl.split(&format!("fn apply4_{hook}(")).nth(1)?.split("return").next()?;
            Some((hook, body.lines().map(str::trim).filter(|l| l.starts_with("v ")).collect()))
        });
        let (params, bindings, chains) = (params.collect(), bindings.collect(), chains.collect());
        Self { step, kernel, params, bindings, chains, memory }
    }

    fn p(&self, name: &str) -> f64 {
        *self.params.get(name).unwrap_or_else(|| panic!("{}: no param `{name}`", self.step.kernel_name))
    }

    fn n(&self, name: &str) -> usize {
        self.p(name) as usize
    }

    /// The place of an element, checked against the buffer's size.
    fn place(&self, name: &str, group: usize, i: usize) -> (usize, usize) {
        let (buffer, groups) = self.bindings[name];
        assert!(group < groups, "{}: `{name}` ends before group {group}", self.step.kernel_name);
        (buffer, group * 4 + i)
    }

    fn at(&self, name: &str, group: usize, i: usize) -> f64 {
        let (buffer, at) = self.place(name, group, i);
        self.memory[buffer][at]
    }

    fn index(&self, name: &str, i: usize) -> usize {
        self.memory[self.bindings[name].0][i] as usize
    }

    fn store(&mut self, name: &str, group: usize, i: usize, v: f64) {
        let (buffer, at) = self.place(name, group, i);
        self.memory[buffer][at] = v;
    }

    /// The chain `hook`, read off the kernel's text.
    fn chain(&self, hook: &str, mut v: f64, r: usize, c: usize) -> f64 {
        for line in &self.chains[hook] {
            let other = line.split_once("load4_").map(|(_, rest)| {
                let name = rest.split('(').next().unwrap();
                let group = self.n(&format!("{name}_offset")) + r * self.n(&format!("{name}_R")) + c / 4;
                self.at(name, group, c % 4)
            });
            v = match (*line, other) {
                (l, None) if l.starts_with("v *= p.") => v * self.p(l[7..].trim_end_matches(';')),
                (l, None) => function(&l[4..l.find("(v)").unwrap()], v),
                (l, Some(o)) if l.starts_with("v = v ") => binary(&l[6..7], v, o),
                (l, Some(o)) => binary(l[..l.len() - 3].rsplit(' ').next().unwrap(), o, v),
            };
        }
        v
    }

    fn dispatch(&mut self) {
        match self.step.kernel_name.split('.').next().unwrap() {
            "matmul" => self.matmul(),
            "elementwise" => self.rows(|s, r, c| s.row("x", r, c)),
            "copy" => self.rows(|s, r, c| {
                let mut i = r * s.n("C") + c;
                let mut at = s.n("x_offset");
                for axis in (1..6).rev() {
                    at += i % s.n(&format!("n{axis}")) * s.n(&format!("s{axis}"));
                    i /= s.n(&format!("n{axis}"));
                }
                at += i * s.n("s0");
                s.at("x", at / 4, at % 4)
            }),
            "embed" => self.rows(|s, r, c| {
                let tables = (0..3).filter(|i| s.bindings.contains_key(format!("table{i}").as_str()));
                let one = |i: usize| {
                    let row = s.index(&format!("idx{i}"), s.n(&format!("idx{i}_offset")) + r);
                    assert!(row < s.n(&format!("V{i}")));
                    let table = format!("table{i}");
                    s.at(
                        &table,
                        s.n(&format!("{table}_offset")) + row * s.n(&format!("{table}_V")) + c / 4,
                        c % 4,
                    )
                };
                tables.map(one).sum()
            }),
            "layer_norm" => self.rows(|s, r, c| {
                let v: Vec<_> = (0..s.n("C")).map(|c| s.chain("pre", s.row("x", r, c), r, c)).collect();
                let mean = v.iter().sum::<f64>() / v.len() as f64;
                let var = v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / v.len() as f64;
                let (w, b) = (s.n("w_offset") + c / 4, s.n("b_offset") + c / 4);
                (v[c] - mean) / (var + s.p("eps")).sqrt() * s.at("w", w, c % 4) + s.at("b", b, c % 4)
            }),
            "l2_normalize" => self.rows(|s, r, c| {
                let v: Vec<_> = (0..s.n("C")).map(|c| s.chain("pre", s.row("x", r, c), r, c)).collect();
                v[c] / v.iter().map(|v| v * v).sum::<f64>().sqrt().max(s.p("eps"))
            }),
            "mean_pool" => self.mean_pool(),
            "attention" => self.attention(),
            other => panic!("no idea how to run {other}"),
        }
    }

    fn row(&self, name: &str, r: usize, c: usize) -> f64 {
        let group = self.n(&format!("{name}_offset")) + r * self.n(&format!("{name}_R")) + c / 4;
        self.at(name, group, c % 4)
    }

    /// y[r, c] = post(f(r, c)), if the kernel has that hook.
    fn rows(&mut self, f: impl Fn(&Self, usize, usize) -> f64) {
        let post = self.chains.contains_key("post");
        let mut out = Vec::new();
        for r in 0..self.n("R") {
            for c in 0..self.n("C") {
                let v = f(self, r, c);
                out.push((r, c, if post { self.chain("post", v, r, c) } else { v }));
            }
        }
        for (r, c, v) in out {
            let group = self.n("y_offset") + r * self.n("y_R") + c / 4;
            self.store("y", group, c % 4, v);
        }
    }

    fn matmul(&mut self) {
        let [b, m, n, k] = ["B", "M", "N", "K"].map(|a| self.n(a));
        let [xo, xb, xm, wo, wb, wn, wk] =
            ["x_offset", "x_B", "x_M", "w_offset", "w_B", "w_N", "w_K"].map(|a| self.n(a));
        let panels = self.kernel.wgsl.contains("const PANEL: u32 = 128u;");
        let says = |text: &str| self.kernel.wgsl.lines().any(|l| l.starts_with(text));
        let is_block = self.kernel.wgsl.lines().any(|l| l.contains("> w_scale: array<w_scale_word>"))
            && !says("const GROUPED: bool");
        let is_int8 = says("const GROUPED: bool");
        let grouped = says("const GROUPED: bool = true");
        let block4 =
            self.kernel.wgsl.lines().find_map(|l| l.strip_prefix("const BLOCK4: u32 = ")?.split('u').next());
        let block: usize = 4 * block4.unwrap().parse::<usize>().unwrap();
        let plane = |s: &Self, name: &str, c: usize, j: usize| {
            let group = if grouped { j / block } else { 0 };
            let [offset, n, k] = ["offset", "N", "K"].map(|p| s.n(&format!("{name}_{p}")));
            s.memory[s.bindings[name].0][offset + c * n + group * k]
        };
        for i in 0..b * m * n {
            let [b, row, c] = [i / n / m, i / n % m, i % n];
            let width = 128.min(n - c / 128 * 128);
            let in_panel = |units: usize| c / 128 * 128 * units + c % 128;
            let x = xo + b * xb + row * xm;
            let w = if panels { in_panel(k.div_ceil(4)) } else { wo + b * wb + c * wn };
            let mut sum = 0.0;
            for j in 0..k {
                let along = j / 4 * if panels { width } else { wk };
                let mut weight = self.at("w", w + along, j % 4);
                if self.bindings.contains_key("w_zero") {
                    weight -= plane(self, "w_zero", c, j);
                }
                if is_block {
                    weight *= self.memory[self.bindings["w_scale"].0][in_panel(k / 32) + j / 32 * width];
                }
                if grouped {
                    weight *= plane(self, "w_scale", c, j);
                }
                sum += self.at("x", x + j / 4, j % 4) * weight;
            }
            if is_int8 && !grouped {
                sum *= plane(self, "w_scale", c, 0);
            }
            let v = self.chain("post", sum, b * m + row, c);
            let y = self.n("y_offset") + b * self.n("y_B") + row * self.n("y_M") + c / 4;
            self.store("y", y, c % 4, v);
        }
    }

    fn mean_pool(&mut self) {
        for i in 0..self.n("B") * self.n("C") {
            let (b, c) = (i / self.n("C"), i % self.n("C"));
            let length = self.index("lengths", self.n("lengths_offset") + b).min(self.n("S"));
            let x = |s: usize| self.n("x_offset") + b * self.n("x_B") + s * self.n("x_S") + c / 4;
            let mean = (0..length).map(|s| self.at("x", x(s), c % 4)).sum::<f64>() / length.max(1) as f64;
            let (group, v) = (self.n("y_offset") + b * self.n("y_B") + c / 4, self.chain("post", mean, b, c));
            self.store("y", group, c % 4, v);
        }
    }

    fn attention(&mut self) {
        let [batch, queries, keys, heads, groups, width] = ["B", "S", "T", "H", "G", "D"].map(|a| self.n(a));
        let given = self.bindings.contains_key("lengths");
        for i in 0..batch * queries * heads {
            let [b, s, h] = [i / heads / queries, i / heads % queries, i % heads];
            let row = |name: &str, axes: [&str; 3], at: [usize; 3]| {
                let strides = axes.iter().zip(at).map(|(a, i)| i * self.n(&format!("{name}_{a}")));
                self.n(&format!("{name}_offset")) + strides.sum::<usize>()
            };
            let g = h / (heads / groups);
            let end =
                if given { self.index("lengths", self.n("lengths_offset") + b).min(keys) } else { keys };
            let (q, o) = (row("q", ["B", "S", "H"], [b, s, h]), row("o", ["B", "S", "H"], [b, s, h]));
            let score = |t: usize| {
                let k = row("k", ["B", "T", "G"], [b, t, g]);
                (0..width)
                    .map(|d| self.at("q", q + d / 4, d % 4) * self.at("k", k + d / 4, d % 4))
                    .sum::<f64>()
            };
            let e: Vec<_> = (0..end).map(|t| (score(t) * self.p("scale")).exp()).collect();
            let mass = e.iter().sum::<f64>();
            let v = |t: usize, d: usize| self.at("v", row("v", ["B", "T", "G"], [b, t, g]) + d / 4, d % 4);
            let out: Vec<f64> =
                (0..width).map(|d| (0..end).map(|t| e[t] / mass * v(t, d)).sum::<f64>()).collect();
            out.iter().enumerate().for_each(|(d, v)| self.store("o", o + d / 4, d % 4, *v));
        }
    }
}

fn binary(sign: &str, a: f64, b: f64) -> f64 {
    match sign {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        other => panic!("no sign {other}"),
    }
}

fn function(name: &str, v: f64) -> f64 {
    let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
    match name {
        "relu" => v.max(0.0),
        "silu" => v * sigmoid(v),
        "sigmoid" => sigmoid(v),
        "tanh_" => v.tanh(),
        "gelu" => v * (1.0 + libm::erf(v / std::f64::consts::SQRT_2)) / 2.0,
        "gelu_tanh" => v * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (v + 0.044715 * v * v * v)),
        other => panic!("no function {other}"),
    }
}
