//! The texts of `shaders/`, and another text in the place of one of them: so that a shader can be broken
//! on purpose, and what ought to notice can be watched, without building anything again.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::dtype::DType;
use crate::formats::CacheForm;

/// A file's name under `shaders/`, and its text.
pub(crate) type Source = (&'static str, &'static str);

/// Pieces of `shaders/lib/`: each by a name of its own, and all of them.
macro_rules! pieces {
    ($($name:ident $file:literal)*) => {
        $(pub(super) const $name: Source =
            (concat!("lib/", $file), include_str!(concat!("../../shaders/lib/", $file)));)*
        const PIECES: &[Source] = &[$($name),*];
    };
}

pieces! {
    LOAD_F32 "load_f32.wgsl"
    LOAD_F32_WIDE "load_f32_wide.wgsl"
    LOAD_F16 "load_f16.wgsl"
    LOAD_F16_WIDE "load_f16_wide.wgsl"
    LOAD_I8 "load_i8.wgsl"
    LOAD_U8 "load_u8.wgsl"
    LOAD_BF16 "load_bf16.wgsl"
    LOAD_U4 "load_u4.wgsl"
    LOAD_I32 "load_i32.wgsl"
    STORE_F32 "store_f32.wgsl"
    STORE_F16 "store_f16.wgsl"
    STORE_F16_INF "store_f16_inf.wgsl"
    STORE_I8 "store_i8.wgsl"
    STORE_U8 "store_u8.wgsl"
    WEIGHT_PLAIN "weight_plain.wgsl"
    WEIGHT_INT8 "weight_int8.wgsl"
    WEIGHT_Q8_0 "weight_q8_0.wgsl"
    WEIGHT_PLANES "weight_planes.wgsl"
    WHOLE_INT8 "whole_int8.wgsl"
    WHOLE_PLANES "whole_planes.wgsl"
    SCALES_HALF "scales_half.wgsl"
    SCALES_PAIR "scales_pair.wgsl"
    SCALES_POWER "scales_power.wgsl"
    SCALES_Q2_K "scales_q2_k.wgsl"
    SCALES_Q3_K "scales_q3_k.wgsl"
    SCALES_Q4_K "scales_q4_k.wgsl"
    SCALES_Q6_K "scales_q6_k.wgsl"
    SCALES_IQ4_XS "scales_iq4_xs.wgsl"
    KEPT_ONE "kept_one.wgsl"
    KEPT_Q2_K "kept_q2_k.wgsl"
    KEPT_Q3_K "kept_q3_k.wgsl"
    KEPT_Q4_K "kept_q4_k.wgsl"
    KEPT_Q6_K "kept_q6_k.wgsl"
    KEPT_IQ4_XS "kept_iq4_xs.wgsl"
    FETCH_ONE "fetch_one.wgsl"
    FETCH_EIGHT "fetch_eight.wgsl"
    FETCH_BYTES "fetch_bytes.wgsl"
    WORDS_ONE "words_one.wgsl"
    WORDS_EIGHT "words_eight.wgsl"
    WORDS_WIDE "words_wide.wgsl"
    SCALE_INT8 "scale_int8.wgsl"
    SCALE_NONE "scale_none.wgsl"
    ZERO_NONE "zero_none.wgsl"
    ZERO_GIVEN "zero_given.wgsl"
    X_ZERO_NONE "x_zero_none.wgsl"
    X_ZERO_GIVEN "x_zero_given.wgsl"
    FUNCTIONS "functions.wgsl"
    WORKGROUP_MAX "workgroup_max.wgsl"
    TEAM_MEMORY "team_memory.wgsl"
    TEAM_SUBGROUP "team_subgroup.wgsl"
    QUAD_MEMORY "quad_memory.wgsl"
    QUAD_SUBGROUP "quad_subgroup.wgsl"
    SLICES_GIVEN "slices_given.wgsl"
    SLICES_NONE "slices_none.wgsl"
    COLUMN_PANEL "column_panel.wgsl"
    COLUMN_STRIDED "column_strided.wgsl"
    COMBINE "combine.wgsl"
    BLOCKS "blocks.wgsl"
    FOUR_PLANES "four_planes.wgsl"
    LIST_GIVEN "list_given.wgsl"
    SHARES "shares.wgsl"
    HANDED_NONE "handed_none.wgsl"
    HANDED_SUBGROUP "handed_subgroup.wgsl"
    LENGTH_GIVEN "length_given.wgsl"
    LENGTH_FULL "length_full.wgsl"
    MASK_GIVEN "mask_given.wgsl"
    MASK_NONE "mask_none.wgsl"
    LSE_WRITTEN "lse_written.wgsl"
    LSE_NONE "lse_none.wgsl"
    SOFTCAP_GIVEN "softcap_given.wgsl"
    SOFTCAP_NONE "softcap_none.wgsl"
    ROW_PLAIN "row_plain.wgsl"
    ROW_INT8 "row_int8.wgsl"
    ROW_Q8_0 "row_q8_0.wgsl"
    ROW_Q4_0 "row_q4_0.wgsl"
    PAGES_GIVEN "pages_given.wgsl"
    PAGES_NONE "pages_none.wgsl"
    SLOPES_GIVEN "slopes_given.wgsl"
    SLOPES_NONE "slopes_none.wgsl"
    SINKS_GIVEN "sinks_given.wgsl"
    SINKS_NONE "sinks_none.wgsl"
    APPEND_V_GIVEN "append_v_given.wgsl"
    APPEND_V_NONE "append_v_none.wgsl"
    STARTS_GIVEN "starts_given.wgsl"
    STARTS_NONE "starts_none.wgsl"
    STARTS_PAGED "starts_paged.wgsl"
    CACHES "caches.wgsl"
    SEQUENCE_PAGES "sequence_pages.wgsl"
    SEQUENCE_ALONE "sequence_alone.wgsl"
    KEEP_CODES "keep_codes.wgsl"
    KEEP_PLAIN "keep_plain.wgsl"
    REACH_OF "reach.wgsl"
    KEYS_OF_ROW "keys_of_row.wgsl"
    HEADS_OF_GROUP "heads_of_group.wgsl"
    QUERY4 "query4.wgsl"
    WHOLE4 "whole4.wgsl"
    ROWS_OF_GROUP "rows_of_group.wgsl"
    STAGED_ROW "staged_row.wgsl"
    STAGED "staged.wgsl"
    TIMES_POWER "times_power.wgsl"
    RELATIVE_WEIGHT "relative_weight.wgsl"
    K_ROW "k_row.wgsl"
    V_ROW "v_row.wgsl"
    TOUCH_WORD "touch_word.wgsl"
    ORDER "order.wgsl"
    SELECT "select.wgsl"
    WRITE_FIRST "write_first.wgsl"
    CLASS_WEIGHT_GIVEN "class_weight_given.wgsl"
    CLASS_WEIGHT_NONE "class_weight_none.wgsl"
    RECENT_GIVEN "recent_given.wgsl"
    RECENT_NONE "recent_none.wgsl"
    RANDOM "random.wgsl"
    POSITION_GIVEN "position_given.wgsl"
    POSITION_START "position_start.wgsl"
    PAIRS "pairs.wgsl"
    ROTATION "rotation.wgsl"
    GAIN_GIVEN "gain_given.wgsl"
    GAIN_NONE "gain_none.wgsl"
    GATE_GIVEN "gate_given.wgsl"
    GATE_NONE "gate_none.wgsl"
    TABLES_1 "tables_1.wgsl"
    TABLES_2 "tables_2.wgsl"
    TABLES_3 "tables_3.wgsl"
    TABLES_BLOCKS "tables_blocks.wgsl"
}

/// Functions that are linked wherever they are called, each with its piece.
pub(super) const ALONE: [(&str, Source); 19] = [
    ("relative_weight(", RELATIVE_WEIGHT),
    ("query4(", QUERY4),
    ("whole4(", WHOLE4),
    ("row_of(", ROWS_OF_GROUP),
    ("stage_row(", STAGED_ROW),
    ("staged4(", STAGED),
    ("times_power(", TIMES_POWER),
    ("k_row(", K_ROW),
    ("v_row(", V_ROW),
    ("reach_of(", REACH_OF),
    ("begin_row(", KEYS_OF_ROW),
    ("workgroup_max(", WORKGROUP_MAX),
    ("turn_unit(", PAIRS),
    ("rotation4(", ROTATION),
    ("row_place(", CACHES),
    ("order4(", ORDER),
    ("select_first(", SELECT),
    ("write_first(", WRITE_FIRST),
    ("random(", RANDOM),
];

/// Functions that are one piece where a tensor is given, and another where it was left out.
pub(super) const BY_TENSOR: &[(&str, &str, Source, Source)] = &[
    ("x_zero_at(", "x_zero", X_ZERO_GIVEN, X_ZERO_NONE),
    ("zero_at(", "w_zero", ZERO_GIVEN, ZERO_NONE),
    ("kv_length(", "lengths", LENGTH_GIVEN, LENGTH_FULL),
    ("masked(", "mask", MASK_GIVEN, MASK_NONE),
    ("write_lse(", "lse", LSE_WRITTEN, LSE_NONE),
    ("place_of(", "pages", PAGES_GIVEN, PAGES_NONE),
    ("tilted(", "slopes", SLOPES_GIVEN, SLOPES_NONE),
    ("with_sink(", "sinks", SINKS_GIVEN, SINKS_NONE),
    ("v_heads(", "v", APPEND_V_GIVEN, APPEND_V_NONE),
    ("page_of(", "pages", SEQUENCE_PAGES, SEQUENCE_ALONE),
    ("position_of(", "positions", POSITION_GIVEN, POSITION_START),
    ("class_weight(", "counts", CLASS_WEIGHT_GIVEN, CLASS_WEIGHT_NONE),
    ("mark_recent(", "recent", RECENT_GIVEN, RECENT_NONE),
    ("gained4(", "gain", GAIN_GIVEN, GAIN_NONE),
];

/// [`weight`], if a text calls what is in it; and how it reads scales, if it asks for those that lie together:
/// all at once where it keeps them, else those of a block when it comes.
pub(super) fn weights(dtype: Option<DType>, keeps: bool, calls: impl Fn(&str) -> bool) -> Vec<Source> {
    let together = calls("scales_of(");
    let kept = match dtype {
        Some(DType::Q2K) if keeps => KEPT_Q2_K,
        Some(DType::Q3K) if keeps => KEPT_Q3_K,
        Some(DType::Q4K | DType::Q5K) if keeps => KEPT_Q4_K,
        Some(DType::Q6K) if keeps => KEPT_Q6_K,
        Some(DType::Iq4Xs) if keeps => KEPT_IQ4_XS,
        _ => KEPT_ONE,
    };
    let pieces = weight(dtype).iter().copied().filter(|_| together || calls("block_of("));
    pieces.chain(together.then_some(kept)).collect()
}

/// How a weight of a type is loaded.
pub(super) fn weight(dtype: Option<DType>) -> &'static [Source] {
    match dtype {
        Some(DType::I8 | DType::U8 | DType::U4) => &[WEIGHT_INT8],
        Some(DType::Q8_0) => &[WEIGHT_Q8_0],
        Some(DType::Q4_0 | DType::Q5_0 | DType::Iq4Nl) => &[WEIGHT_PLANES, SCALES_HALF],
        Some(DType::Q4_1 | DType::Q5_1) => &[WEIGHT_PLANES, SCALES_PAIR],
        Some(DType::Mxfp4) => &[WEIGHT_PLANES, SCALES_POWER],
        Some(DType::Q2K) => &[WEIGHT_PLANES, SCALES_Q2_K],
        Some(DType::Q3K) => &[WEIGHT_PLANES, SCALES_Q3_K],
        Some(DType::Q4K | DType::Q5K) => &[WEIGHT_PLANES, SCALES_Q4_K],
        Some(DType::Q6K) => &[WEIGHT_PLANES, SCALES_Q6_K],
        Some(DType::Iq4Xs) => &[WEIGHT_PLANES, SCALES_IQ4_XS],
        _ => &[WEIGHT_PLAIN],
    }
}

/// How rows of a cache are read.
pub(super) const fn rows(form: Option<CacheForm>) -> Source {
    match form {
        None => ROW_PLAIN,
        Some(CacheForm::Int8) => ROW_INT8,
        Some(CacheForm::Q8_0) => ROW_Q8_0,
        Some(CacheForm::Q4_0) => ROW_Q4_0,
    }
}

/// How those of eight columns, which fill words, are loaded together.
pub(super) fn fetch_eight(dtype: Option<DType>) -> Source {
    if weight(dtype).contains(&WEIGHT_PLANES) { FETCH_EIGHT } else { FETCH_BYTES }
}

/// How four weights of a type are read as int8.
pub(super) fn whole(dtype: Option<DType>) -> Source {
    if weight(dtype).contains(&WEIGHT_PLANES) { WHOLE_PLANES } else { WHOLE_INT8 }
}

/// Where the rows of a sequence begin.
pub(super) fn starts(given: impl Fn(&str) -> bool) -> Source {
    match () {
        () if given("pages") => STARTS_PAGED,
        () if given("starts") => STARTS_GIVEN,
        () => STARTS_NONE,
    }
}

/// How rows of tables are read, as texts of the files: of so many tables, or of one of blocks, which is read as
/// the weights of a matmul under other names.
pub(super) fn tables(dtypes: &[DType]) -> Vec<(&'static str, String)> {
    let whole = |piece: Source| (piece.0, text_of(piece).into_owned());
    let first = match dtypes {
        [first] if first.is_blocks() => *first,
        [_] => return vec![whole(TABLES_1)],
        [_, _] => return vec![whole(TABLES_2)],
        _ => return vec![whole(TABLES_3)],
    };
    let names = [("p.K", "p.C"), ("p.N", "p.V0"), ("word_w(", "word_table0("), ("w_scale", "table0_scale")];
    let renamed = |piece: &Source| {
        let text = text_of(*piece).into_owned();
        (piece.0, names.iter().fold(text, |text, (from, to)| text.replace(from, to)))
    };
    let pieces = weight(Some(first)).iter().chain(&[COLUMN_PANEL]).map(renamed);
    std::iter::once(whole(TABLES_BLOCKS)).chain(pieces).collect()
}

/// The WGSL type of four elements: one load.
pub(super) const fn group_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 | DType::Bf16 => "vec2<u32>",
        DType::I8 | DType::U8 => "u32",
        DType::I32 => "vec4<i32>",
        _ if dtype.block() > 1 => "u32",
        _ => "vec4<f32>",
    }
}

/// How four elements of a type are read; `None` where pieces of their own do that.
pub(super) const fn load(dtype: DType) -> Option<Source> {
    match dtype {
        DType::F32 => Some(LOAD_F32),
        DType::F16 => Some(LOAD_F16),
        DType::I8 => Some(LOAD_I8),
        DType::U8 => Some(LOAD_U8),
        DType::Bf16 => Some(LOAD_BF16),
        DType::U4 => Some(LOAD_U4),
        DType::I32 => Some(LOAD_I32),
        _ => None,
    }
}

/// How they are written; `None` of sums of whole numbers, which are stored as they are. `packs_nan` is a quirk.
pub(super) const fn store(dtype: DType, packs_nan: bool) -> Option<Source> {
    match dtype {
        DType::I32 => None,
        DType::F16 if packs_nan => Some(STORE_F16_INF),
        DType::F16 => Some(STORE_F16),
        DType::I8 => Some(STORE_I8),
        DType::U8 => Some(STORE_U8),
        _ => Some(STORE_F32),
    }
}

/// Every shader file: its name under `shaders/` and its text, by name.
pub fn sources() -> Vec<(&'static str, &'static str)> {
    let kernels = crate::ops::ALL.iter().flat_map(|op| op.kernels).flat_map(|k| k.stages());
    let kernels = kernels.map(|k| (k.file, k.source));
    let mut all: Vec<Source> = kernels.chain(PIECES.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

thread_local! {
    /// The file that has another text on this thread, and that text.
    static REPLACED: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Runs something while every kernel that this thread composes is made as if the file `file` (a name
/// under `shaders/`, as in [`sources`]) held `text`. What is fused with what still follows the file as it is.
///
/// # Panics
/// [`compose`](fn@super::compose) does, if the text lacks what the host expects of the file.
pub fn with_source<T>(file: &str, text: &str, run: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also when what ran panicked.
    struct Before(Option<(String, String)>);
    impl Drop for Before {
        fn drop(&mut self) {
            REPLACED.set(self.0.take());
        }
    }
    let _before = Before(REPLACED.replace(Some((file.to_owned(), text.to_owned()))));
    run()
}

/// Whether some file has another text on this thread.
#[cfg_attr(not(feature = "gpu"), allow(dead_code))]
pub(crate) fn is_replaced() -> bool {
    REPLACED.with_borrow(Option::is_some)
}

/// The text of a file as this thread is to see it.
pub(crate) fn text_of((file, source): Source) -> Cow<'static, str> {
    REPLACED.with_borrow(|replaced| match replaced {
        Some((name, text)) if name == file => Cow::Owned(text.clone()),
        _ => Cow::Borrowed(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shader_is_a_source() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        let names = |folder: &str| -> Vec<String> {
            let files = std::fs::read_dir(root.join(folder)).unwrap().map(|f| f.unwrap().file_name());
            files.map(|f| f.into_string().unwrap()).filter(|f| f.ends_with(".wgsl")).collect()
        };
        let mut files = names(".");
        files.extend(names("lib").iter().map(|f| format!("lib/{f}")));
        files.sort();
        let sources: Vec<_> = sources().iter().map(|(file, _)| *file).collect();
        assert_eq!(sources, files);
    }

    #[test]
    fn another_text_is_seen_while_it_is_asked_for_and_no_longer() {
        let seen = || text_of(LOAD_F32).into_owned();
        let whole = seen();
        assert_eq!(with_source("lib/load_f32.wgsl", "other", seen), "other");
        assert_eq!(with_source("lib/load_f16.wgsl", "other", seen), whole);
        assert!(
            std::panic::catch_unwind(|| with_source("lib/load_f32.wgsl", "x", || panic!("on purpose")))
                .is_err()
        );
        assert_eq!(seen(), whole);
    }
}
