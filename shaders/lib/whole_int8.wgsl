// Four weights along K as int8 in a word: as they lie.

fn whole_w(i: u32) -> u32 {
    return w[i];
}
