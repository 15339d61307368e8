// There is no list of last tokens.

fn mark_recent(r: u32, begin: u32, lane: u32) {
}

fn recent4(at: u32) -> vec4<bool> {
    return vec4<bool>(false);
}
