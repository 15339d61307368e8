// Every sequence has all its keys.

fn kv_length(b: u32) -> u32 {
    return p.T;
}
