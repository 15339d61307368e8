// probe.empty    what a dispatch costs that does nothing and waits for nothing

@compute @workgroup_size(1)
fn main() {}
