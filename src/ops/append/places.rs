//! Where ops that append write: what their tensors must be to each other, and which row goes where.

use crate::dim::Dim;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::formats::CacheForm;
use crate::numerics::Approx;
use crate::op::Axis::{B, C, D, G, N, S, T, V};
use crate::op::{Axis, Infer, RefCall};
use crate::ops::append::codes;

/// More bytes than these are as good as all.
const ANY: usize = 64;

/// Axes of what is appended and of caches, and the caches as they are left: shape and type.
type Checked = (Vec<(Axis, Dim)>, Vec<(Vec<Dim>, DType)>);

/// Checks `k`, `v`, `starts`, `pages` and the caches of an op that has arguments of these names.
///
/// # Errors
/// [`Error::Shape`] where they do not go together, [`Error::Argument`] where one is one too many.
pub(crate) fn check(i: &Infer<'_>) -> Result<Checked> {
    let place = |name: &str| i.op.inputs.iter().position(|a| a.name == name).unwrap_or(usize::MAX);
    let [k_at, v_at, starts, pages, k_to, v_to] =
        ["k", "v", "starts", "pages", "k_cache", "v_cache"].map(place);
    let given = |arg: usize| i.inputs.get(arg).is_some_and(Option::is_some);
    let (k, cache) = (i.rank(k_at, 4)?.to_vec(), i.rank(k_to, 4)?.to_vec());
    if !given(pages) {
        i.same(B, (k_at, &k[0]), (k_to, &cache[0]))?;
    }
    i.same(G, (k_at, &k[2]), (k_to, &cache[2]))?;
    rows(i, D, (k_at, &k[3]), (k_to, &cache[3]))?;
    let mut outputs = vec![(cache.clone(), i.operand(k_to)?.dtype)];
    let mut width = Dim::from(0);
    if given(v_at) {
        let (v, v_cache) = (i.rank(v_at, 4)?.to_vec(), i.rank(v_to, 4)?.to_vec());
        for (at, axis) in [B, S, G].into_iter().enumerate() {
            i.same(axis, (k_at, &k[at]), (v_at, &v[at]))?;
        }
        for (at, axis) in [if given(pages) { V } else { B }, T, G].into_iter().enumerate() {
            i.same(axis, (k_to, &cache[at]), (v_to, &v_cache[at]))?;
        }
        rows(i, C, (v_at, &v[3]), (v_to, &v_cache[3]))?;
        width = v[3].clone();
        outputs.push((v_cache, i.operand(v_to)?.dtype));
    }
    if given(starts) {
        i.same(B, (k_at, &k[0]), (starts, &i.rank(starts, 1)?[0]))?;
    }
    let op = i.op.name;
    let mut columns = Dim::ONE;
    if given(pages) {
        if given(starts) {
            return Err(Error::Argument(format!(
                "{op}: `starts` and `pages` are both given, but where a sequence starts is the first of its \
                 `pages`"
            )));
        }
        let table = i.rank(pages, 2)?;
        i.same(B, (k_at, &k[0]), (pages, &table[0]))?;
        columns = table[1].clone();
        if columns.constant().is_none_or(|n| n < 2) {
            return Err(Error::Shape(format!(
                "{op}: `pages` is {}, but its last axis must be fixed and at least 2: a start and a page",
                i.show(table)
            )));
        }
    }
    if [&k[2], &k[3], &width].iter().any(|d| d.constant().is_none()) {
        return Err(Error::Shape(format!("{op}: G, D and C must be fixed, not dims of the call")));
    }
    if let Some(ring) = i.attr_u32("ring").filter(|r| *r > 1) {
        return Err(Error::Argument(format!("{op}: `ring` is {ring}, but it must be 0 or 1")));
    }
    let [b, s, g, d] = [0, 1, 2, 3].map(|at| k[at].clone());
    let [first, t] = [0, 1].map(|at| cache[at].clone());
    let sizes = [(B, b), (S, s), (T, t), (G, g), (D, d), (C, width), (N, columns), (V, first)];
    Ok((sizes.into(), outputs))
}

/// Elements of a row that is kept as codes, at most: workgroup memory has room for it.
const WIDEST: u64 = 2048;

/// Checks that a cache has room for rows of an operand, in its form.
fn rows(i: &Infer<'_>, axis: Axis, x: (usize, &Dim), cache: (usize, &Dim)) -> Result<()> {
    let (op, [name, to]) = (i.op.name, [x.0, cache.0].map(|at| i.op.inputs[at].name));
    let (number, dtype) = (i.attr_u32("form").unwrap_or(0), i.operand(cache.0)?.dtype);
    let form = CacheForm::from_number(number);
    if number > 0 && form.is_none() {
        return Err(Error::Argument(format!("{op}: `form` is {number}, but it must be 0 to 3")));
    }
    let (kind, of) = form.map_or(("rows of numbers", "f32 or f16"), |form| (form.name(), "u8"));
    if form.is_some() != (dtype == DType::U8) {
        return Err(Error::Argument(format!("{op}: `{to}` is {dtype}, but {kind} are kept as {of}")));
    }
    let Some((form, width)) = form.zip(x.1.constant()) else { return i.same(axis, x, cache) };
    if width > WIDEST {
        return Err(Error::Shape(format!(
            "{op}: `{name}` has {} = {width}, but a row that becomes {kind} has at most {WIDEST} elements",
            axis.name()
        )));
    }
    let bytes = form.row_bytes(width as usize) as u64;
    if cache.1.constant() != Some(bytes) {
        return Err(Error::Shape(format!(
            "{op}: `{to}` has rows of {} bytes, but of `{name}`, whose {} is {width}, {kind} makes {bytes}",
            cache.1.show(i.scalars),
            axis.name()
        )));
    }
    Ok(())
}

/// Where the rows of a call go.
pub(crate) struct Places<'a> {
    starts: Option<&'a Approx>,
    pages: Option<&'a Approx>,
    start: u32,
    ring: bool,
    form: Option<CacheForm>,
    /// Sequences, tokens of each, rows of a sequence's cache or of a page, columns of `pages`, pages.
    sizes: [usize; 5],
}

impl<'a> Places<'a> {
    /// Of a call, with its `starts` and `pages`.
    pub fn new(c: &RefCall<'_>, (starts, pages): (Option<&'a Approx>, Option<&'a Approx>)) -> Self {
        let (start, ring) = (c.attr("start") as u32, c.attr("ring") == 1.0);
        let form = CacheForm::from_number(c.attr("form") as u32);
        Self { starts, pages, start, ring, form, sizes: [B, S, T, N, V].map(|a| c.sizes.get(a)) }
    }

    /// Where a sequence begins.
    fn first(&self, batch: usize) -> u32 {
        let own = |(x, columns): (&Approx, usize)| x.value[batch * columns] as u32;
        let given = self.starts.map(|x| (x, 1)).or(self.pages.map(|x| (x, self.sizes[3])));
        given.map_or(0, own).wrapping_add(self.start)
    }

    /// Where a token stands: a whole number of 32 bits, as all that it is the sum of.
    pub fn position(&self, batch: usize, query: usize) -> u32 {
        self.first(batch).wrapping_add(query as u32)
    }

    /// The row of a cache, or of all pages, that a token's goes to.
    fn row(&self, batch: usize, query: usize) -> Option<usize> {
        let [_, s, t, columns, pages] = self.sizes;
        let room = if self.pages.is_some() { (columns - 1) * t } else { t };
        let at = self.first(batch) as usize + query;
        let at = match self.ring {
            true => (query + room >= s && room > 0).then(|| self.position(batch, query) as usize % room)?,
            false => Some(at).filter(|at| *at < room)?,
        };
        let page = |table: &Approx| table.value[batch * columns + 1 + at / t] as usize;
        match self.pages.map(page) {
            Some(page) => (page < pages).then_some(page * t + at % t),
            None => Some(batch * t + at),
        }
    }

    /// Each token's row `[B, S]` and the row that it goes to, where it goes anywhere.
    pub fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let [b, s, ..] = self.sizes;
        (0..b * s).filter_map(move |token| Some((token, self.row(token / s, token % s)?)))
    }

    /// A cache once rows of x are in it.
    pub fn written(&self, x: &Approx, cache: &Approx) -> Approx {
        let [wide, long] = [x, cache].map(|x| x.shape[3]);
        let heads = x.shape[2];
        let mut out = cache.clone();
        let mut also = Vec::new();
        for (from, to) in self.rows() {
            for head in 0..heads {
                let (from, to) = ((from * heads + head) * wide, (to * heads + head) * long);
                let (value, error) = (&x.value[from..from + wide], &x.error[from..from + wide]);
                let Some(form) = self.form else {
                    out.value[to..to + long].copy_from_slice(value);
                    out.error[to..to + long].copy_from_slice(error);
                    continue;
                };
                for (byte, right) in (to..).zip(codes::row(form, value, error)) {
                    out.value[byte] = right.first().copied().map_or(0.0, f64::from);
                    // Nobody knows: any byte will do.
                    out.error[byte] = if right.len() > ANY { 255.0 } else { 0.0 };
                    also.extend(right.iter().skip(1).take(ANY).map(|other| (byte, f64::from(*other))));
                }
            }
        }
        also.sort_by_key(|(byte, _)| *byte);
        out.also = also;
        out
    }
}

#[cfg(test)]
mod tests {
    use crate::dtype::DType;
    use crate::formats::CacheForm;
    use crate::graph::Graph;
    use crate::ops::append::At;

    #[test]
    fn what_does_not_go_together_is_refused_with_both_sides() {
        let mut g = Graph::new();
        let k = g.input("k", DType::F32, &[1, 2, 2, 40].map(Into::into)).unwrap();
        let starts = g.input("starts", DType::U32, &[1.into()]).unwrap();
        let [pages, none] =
            [5, 1].map(|n| g.input(&format!("pages of {n}"), DType::U32, &[1.into(), n.into()]).unwrap());
        let [plain, bytes] = [("plain", DType::F32, 40), ("bytes", DType::U8, 24)]
            .map(|(name, dtype, row)| g.state(name, dtype, &[1, 8, 2, row].map(Into::into)).unwrap());
        let mut say = |cache, at| g.append(cache, k, at).unwrap_err().to_string();
        let form = |form| At { form: Some(form), ..At::default() };
        let kept = "append: `k_cache` is u8, but rows of numbers are kept as f32 or f16";
        assert_eq!(say(bytes, At::default()), kept);
        assert_eq!(say(plain, form(CacheForm::Q4_0)), "append: `k_cache` is f32, but q4_0 are kept as u8");
        let rows = "append: `k_cache` has rows of 24 bytes, but of `k`, whose D is 40, int8 makes 44";
        assert_eq!(say(bytes, form(CacheForm::Int8)), rows);
        let both = At { starts: Some(starts), pages: Some(pages), ..At::default() };
        let first = "append: `starts` and `pages` are both given, but where a sequence starts is the first of its \
                     `pages`";
        assert_eq!(say(plain, both), first);
        let fixed =
            "append: `pages` is [1, 1], but its last axis must be fixed and at least 2: a start and a page";
        assert_eq!(say(plain, At { pages: Some(none), ..At::default() }), fixed);
        assert!(g.append(bytes, k, form(CacheForm::Q4_0)).is_ok());
        assert!(g.append(plain, k, At { pages: Some(pages), ..At::default() }).is_ok());
    }
}
